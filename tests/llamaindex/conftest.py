"""What these tests share: an emulator, and LLMs whose chain it serves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, Protocol

import pytest

from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback.emulator import Emulator

from ..cases.matrix import FIRST, SECOND
from ..support.llamaindex import left_as_it_was


class Make(Protocol):
    """Makes an LLM on the emulator; its chain is FIRST, SECOND unless said otherwise."""

    def __call__(self, models: Any = ..., **options: Any) -> OpenRouterFallback: ...


@pytest.fixture(autouse=True)
def llamaindex_as_it_was(request: pytest.FixtureRequest) -> Iterator[None]:
    """For synchronous tests; the others have a loop already."""
    with nullcontext() if inspect.iscoroutinefunction(request.function) else left_as_it_was():
        yield


@pytest.fixture
def emulator(served: Emulator) -> Emulator:
    served.clear()
    served.pace(latency=0.0, token_interval=0.0)
    return served


@pytest.fixture
def make(emulator: Emulator) -> Iterator[Make]:
    made: list[OpenRouterFallback] = []

    def make(models: Any = (FIRST, SECOND), **options: Any) -> OpenRouterFallback:
        given = {"api_base": emulator.base_url, "api_key": emulator.api_key, **options}
        llm = OpenRouterFallback(None if models is None else list(models), **given)
        made.append(llm)
        return llm

    yield make
    for llm in made:
        llm.client.close()


@pytest.fixture
def llm(make: Make) -> OpenRouterFallback:
    return make()
