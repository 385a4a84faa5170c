"""A client of three models on a strict emulator, without a variable of the environment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from openrouter_fallback import FallbackClient
from openrouter_fallback.emulator import Emulator

A, B, C = "anthropic/a", "openai/b", "meta-llama/c:free"
SECRET = "sk-or-v1-0123456789abcdef0123456789abcdef"
PROMPT = "the launch code is swordfish-4711 and nobody may read it"


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator(api_key=SECRET, strict=True) as emulator:
        yield emulator


@pytest.fixture
def emulator(server: Emulator) -> Emulator:
    server.clear()
    return server


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "OPENROUTER_FALLBACK_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def client(emulator: Emulator) -> Iterator[FallbackClient]:
    with FallbackClient([A, B, C], base_url=emulator.base_url, api_key=SECRET) as client:
        yield client
