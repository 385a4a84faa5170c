from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from openrouter_fallback.emulator import Emulator
from openrouter_fallback.emulator.pytest_plugin import openrouter_emulator

from .helpers import Asker

__all__ = ["openrouter_emulator"]


@pytest.fixture
def emulator(openrouter_emulator: Emulator) -> Emulator:
    return openrouter_emulator


@pytest.fixture
def collected(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a client left open is closed while its own test still knows of it."""
    yield
    request.node.funcargs.clear()
    gc.collect()


@pytest.fixture
def ask(emulator: Emulator) -> Iterator[Asker]:
    asker = Asker(emulator)
    yield asker
    asker.http.close()
