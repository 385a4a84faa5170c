"""`routing(...)`: what a context sets for the calls in it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from openrouter_fallback import routing
from openrouter_fallback.router import Choice, in_context
from tests.support.router import Bench


def test_routing_sets_what_a_call_leaves_open() -> None:
    bench = Bench()

    def asked(**choice: Any) -> list[str]:
        return [one.key for one in bench.plan(in_context(Choice(**choice)), 0.0).candidates]

    default = asked()
    with routing(task="fast"):
        assert asked() == ["anthropic/haiku", "openai/mini"]
        assert asked(task="coding") == ["anthropic/sonnet", "deepseek/chat"]
        with routing(primary_provider="openai"):
            assert asked() == ["openai/mini", "anthropic/haiku"]
            with routing(task="coding", primary_provider="deepseek"):
                assert asked() == ["deepseek/chat", "anthropic/sonnet"]
            with routing(models=["x/y"]):
                assert asked() == ["x/y"]
        assert asked() == ["anthropic/haiku", "openai/mini"]
    assert asked() == default


def test_routing_ends_with_an_error_too() -> None:
    with pytest.raises(ZeroDivisionError), routing(task="fast"):
        raise ZeroDivisionError
    assert in_context(Choice()) == Choice()


def test_routing_does_not_reach_other_threads() -> None:
    seen: list[Choice] = []
    with routing(task="fast"):
        thread = threading.Thread(target=lambda: seen.append(in_context(Choice())))
        thread.start()
        thread.join()
    assert seen == [Choice()]


async def test_routing_holds_for_a_task_and_those_it_starts() -> None:
    seen: dict[str, Choice] = {}
    both_in = asyncio.Barrier(2)

    async def child(name: str) -> None:
        seen[name] = in_context(Choice())

    async def call(task: str) -> None:
        with routing(task=task):
            await both_in.wait()
            await asyncio.create_task(child(f"{task}'s child"))
            seen[task] = in_context(Choice())
            await both_in.wait()

    await asyncio.gather(call("fast"), call("coding"))
    assert seen == {
        "fast": Choice(task="fast"),
        "fast's child": Choice(task="fast"),
        "coding": Choice(task="coding"),
        "coding's child": Choice(task="coding"),
    }
    assert in_context(Choice()) == Choice()
