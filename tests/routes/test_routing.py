"""`routing(...)`: what a context sets for the calls in it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from openrouter_fallback import FallbackClient, routing
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.routes.choice import Choice, in_context

from ..cases.levels import CONFIG, LEVELS, Routing
from ..support.router import Bench
from ..support.surfaces import SURFACES, ask


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


@pytest.fixture
def client(served: Emulator) -> Iterator[FallbackClient]:
    served.clear()
    with FallbackClient(config=CONFIG, base_url=served.base_url, api_key=served.api_key) as client:
        yield client


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("surface", SURFACES)
def test_argument_over_context_over_copy_over_configuration(
    client: FallbackClient, served: Emulator, name: str, surface: str
) -> None:
    argument, context, copy, expected = LEVELS[name]
    with routing(**context):
        routed = client.with_options(**copy)
        assert routed.chain(**argument) == expected
        assert routed.route(**argument).candidates == expected
        ask(routed, surface, **argument)
    assert [request.model for request in served.log] == [*expected[:1]]


@pytest.mark.parametrize("outer", [{"task": "fast"}, {"models": ["x/y"]}], ids=str)
def test_an_inner_context_replaces_the_models_of_an_outer_one(client: FallbackClient, outer: Routing) -> None:
    with routing(**outer), routing(task="coding"):
        assert client.chain() == ("anthropic/sonnet", "deepseek/chat")
    with routing(**outer), routing(models=["meta/llama"]):
        assert client.chain() == ("meta/llama",)


@pytest.mark.parametrize("own", [{"task": "fast"}, {"models": ["x/y"]}], ids=str)
def test_a_copy_of_a_copy_replaces_its_models(client: FallbackClient, own: Routing) -> None:
    copy = client.with_options(**own)
    assert copy.with_options(task="coding").chain() == ("anthropic/sonnet", "deepseek/chat")
    assert copy.with_options(models=["meta/llama"]).chain() == ("meta/llama",)


async def test_a_stream_is_routed_when_it_is_asked_for(client: FallbackClient, served: Emulator) -> None:
    with routing(task="fast"):
        stream, astream = client.stream("hi"), client.astream("hi")
    with routing(task="coding"):
        async for _ in astream:
            pass
        await asyncio.to_thread(lambda: list(stream))
    await client.aclose()
    assert [request.model for request in served.log] == ["anthropic/haiku"] * 2


def test_a_preferred_provider_without_a_model_in_the_chain_is_told_once(
    client: FallbackClient, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        assert client.with_options(models=["x/y"]).chain(primary_provider="openai") == ("x/y",)
    assert [record.getMessage() for record in caplog.records] == [
        "primary_provider='openai' has none of the models x/y. The order stays as it is."
    ]
