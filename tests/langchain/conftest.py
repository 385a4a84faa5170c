"""One emulator for each test, and a chat model on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from langchain_openrouter_fallback import ChatOpenRouterFallback
from openrouter_fallback.emulator import Emulator

GPT, CLAUDE, LLAMA = "openai/gpt-5.1", "anthropic/claude-sonnet-4.5", "meta-llama/llama-3.3-70b-instruct"

Make = Callable[..., ChatOpenRouterFallback]


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(strict=True) as emulator:
        yield emulator


@pytest.fixture
def make(emulator: Emulator) -> Make:
    """A chat model on the emulator; its chain is GPT, CLAUDE unless said otherwise."""

    def made(**arguments: Any) -> ChatOpenRouterFallback:
        if "config" not in arguments and "model" not in arguments:
            arguments.setdefault("models", [GPT, CLAUDE])
        return ChatOpenRouterFallback(**{"base_url": emulator.base_url, "api_key": emulator.api_key, **arguments})

    return made


@pytest.fixture
def llm(make: Make) -> ChatOpenRouterFallback:
    return make()
