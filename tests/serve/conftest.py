"""One server for a module, in front of the emulator that all tests have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from openrouter_fallback import FallbackClient, FallbackConfig
from openrouter_fallback.emulator import Emulator

from ..cases.matrix import FIRST, SECOND
from ..support.clients import PATIENT, undiced
from ..support.serving import Served, serving

CHEAP = "openai/gpt-5-mini"


def config(base_url: str, **settings: Any) -> FallbackConfig:
    """A configuration with a chain of every sort."""
    return FallbackConfig(
        default_chain=(FIRST, SECOND),
        task_chains={"coding": (SECOND, FIRST)},
        cost_tiers={"budget": (CHEAP,), "standard": (FIRST,)},
        endpoints={"openrouter": {"base_url": base_url}},
        settings={"first_token_timeout_seconds": PATIENT, "stall_timeout_seconds": PATIENT, **settings},
    )


@pytest.fixture(scope="module")
def shared(served: Emulator) -> Iterator[FallbackClient]:
    with undiced(FallbackClient(config=config(served.base_url), api_key=served.api_key)) as client:
        yield client


@pytest.fixture(scope="module")
def server(shared: FallbackClient) -> Iterator[Served]:
    with serving(shared) as running:
        yield running


@pytest.fixture
def sdk(server: Served, client: FallbackClient, emulator: Emulator) -> Iterator[openai.OpenAI]:
    """The openai SDK in front of a server that has learnt nothing yet; its own retries are off."""
    with openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture
async def asdk(server: Served, client: FallbackClient, emulator: Emulator) -> Any:
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0) as made:
        yield made
