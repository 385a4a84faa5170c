"""Which model's calls a request's tool results answer, and that this model goes first while it is healthy."""

from __future__ import annotations

from typing import Any

import pytest

from openrouter_fallback import FallbackClient
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.request.handover import Delivered, History, loop_models, name_signers
from openrouter_fallback.request.handover.loops import MOST_CALLS

from .histories import Json, call, calling, encrypted, result, signed, user

LOOP = [user(), calling(call("call_1", city="Rome")), result("call_1")]


def test_the_message_names_its_writer() -> None:
    messages = [user(), {**LOOP[1], "model": "openai/gpt-5.1"}, result("call_1")]
    assert loop_models(History(messages), Delivered()) == ("openai/gpt-5.1",)


def test_a_delivered_call_is_known_by_its_id_and_what_it_says() -> None:
    delivered = Delivered()
    delivered.add(LOOP[1], "a")
    assert loop_models(History(LOOP), delivered) == ("a",)
    written_anew = {**call("call_1"), "function": {"name": "get_weather", "arguments": '{ "city":\n"R\\u006fme"}'}}
    assert loop_models(History([user(), calling(written_anew), result("call_1")]), delivered) == ("a",)
    assert loop_models(History([user(), calling(call("call_1", city="Oslo")), result("call_1")]), delivered) == ()
    assert loop_models(History([user(), calling(call("call_2", city="Rome")), result("call_2")]), delivered) == ()


def test_what_the_message_says_goes_first() -> None:
    delivered = Delivered()
    delivered.add(LOOP[1], "a")
    messages = [user(), {**LOOP[1], "model": "b"}, result("call_1")]
    assert loop_models(History(messages), delivered) == ("b", "a")


@pytest.mark.parametrize(
    "messages",
    [[user()], [*LOOP, user("And now?")], [*LOOP, {"role": "assistant", "content": "Sunny."}], [result("call_1")]],
)
def test_a_loop_is_over_at_the_next_message_of_the_user(messages: list[Json]) -> None:
    delivered = Delivered()
    delivered.add(LOOP[1], "a")
    assert loop_models(History(messages), delivered) == ()


def test_the_oldest_calls_are_forgotten() -> None:
    delivered = Delivered()
    for number in range(MOST_CALLS + 1):
        delivered.add(calling(call(f"call_{number}")), "a")
    assert delivered.caller(calling(call("call_0"))) is None
    assert delivered.caller(calling(call("call_1"))) == "a"


def test_what_is_no_call_is_passed_over() -> None:
    delivered = Delivered()
    broken: Any = {"id": "a", "function": {"arguments": "{broken"}}
    odd: Any = [None, {}, {"id": 1}, call(None), broken]
    delivered.add(calling(*odd, reasoning_details=[None, {}, {"signature": 1}]), "a")
    delivered.add({"role": "assistant", "tool_calls": 1, "reasoning_details": 1}, "a")
    assert delivered.caller(calling(odd[0], call("b"), broken)) == "a"


def test_the_maker_of_a_signature_is_known_where_the_message_does_not_say() -> None:
    delivered = Delivered()
    delivered.add({"role": "assistant", "reasoning_details": [signed(signature="c2ln"), {"type": "x"}]}, "a")
    delivered.add({"role": "assistant", "reasoning_details": [encrypted("openai-responses-v1", "gAAA")]}, "b")
    messages = [
        user(),
        {"role": "assistant", "content": "Hi", "reasoning_details": [signed(signature="c2ln")]},
        {"role": "assistant", "content": "Hi", "reasoning_details": [encrypted("openai-responses-v1", "gAAA")]},
        {"role": "assistant", "content": "Hi", "reasoning_details": [signed(signature="b3RoZXI=")]},
        {"role": "assistant", "content": "Hi", "reasoning_details": [signed(signature="c2ln")], "model": "c"},
    ]
    history = History(messages)
    name_signers(history, delivered)
    assert history.writers == {1: "a", 2: "b", 4: "c"}


OPUS, KIMI = "anthropic/claude-opus-4.5", "moonshotai/kimi-k2-thinking"


# What the call allows, and the models that it calls, where a loop of Opus is open. A provider is only an order.
@pytest.mark.parametrize(
    ("choice", "candidates"),
    [
        ({}, (OPUS, KIMI)),
        ({"primary_provider": "moonshotai"}, (OPUS, KIMI)),
        ({"task": "small"}, (KIMI,)),
        ({"max_cost_tier": "budget"}, (KIMI,)),
        ({"max_price": 10}, (KIMI,)),
        ({"models": [KIMI]}, (KIMI,)),
    ],
    ids=str,
)
def test_only_a_model_that_the_call_allows_goes_first(choice: dict[str, Any], candidates: tuple[str, ...]) -> None:
    config = {
        "default_chain": [KIMI, OPUS],
        "task_chains": {"small": [KIMI]},
        "cost_tiers": {"budget": [KIMI], "premium": [OPUS]},
    }
    messages = [user(), calling(call("toolu_1"), model=OPUS), result("toolu_1")]
    with Emulator() as emulator:
        client = FallbackClient(config=config, base_url=emulator.base_url, api_key=emulator.api_key)
        client.refresh_catalog()
        route = client.route(messages=messages, **choice)
        client.close()
    assert route.candidates == candidates
    assert bool(route.notes) is (candidates[0] == OPUS)


def test_a_model_over_the_spend_limit_is_passed_over_though_its_calls_are_answered() -> None:
    messages = [user(), calling(call("toolu_1"), model=OPUS), result("toolu_1")]
    with Emulator() as emulator:
        client = FallbackClient(
            [KIMI, OPUS],
            base_url=emulator.base_url,
            api_key=emulator.api_key,
            settings={"spend_limit_usd": {"per_call": "0.01"}},
        )
        client.refresh_catalog()
        answer = client.chat(messages, max_tokens=1000)
        client.close()
    assert [attempt.model for attempt in answer.attempts] == [KIMI]
