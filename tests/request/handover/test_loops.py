"""Which model's calls a request's tool results answer, and that this model goes first while it is healthy."""

from __future__ import annotations

import pytest

from openrouter_fallback.request.handover import DeliveredCalls, History, loop_models
from openrouter_fallback.request.handover.loops import MOST_CALLS

from .histories import Json, call, calling, result, user

LOOP = [user(), calling(call("call_1", city="Rome")), result("call_1")]


def test_the_message_names_its_writer() -> None:
    messages = [user(), {**LOOP[1], "model": "openai/gpt-5.1"}, result("call_1")]
    assert loop_models(History(messages), DeliveredCalls()) == ("openai/gpt-5.1",)


def test_a_delivered_call_is_known_by_its_id_and_what_it_says() -> None:
    delivered = DeliveredCalls()
    delivered.add(LOOP[1]["tool_calls"], "a")
    assert loop_models(History(LOOP), delivered) == ("a",)
    written_anew = {**call("call_1"), "function": {"name": "get_weather", "arguments": '{ "city":\n"R\\u006fme"}'}}
    assert loop_models(History([user(), calling(written_anew), result("call_1")]), delivered) == ("a",)
    assert loop_models(History([user(), calling(call("call_1", city="Oslo")), result("call_1")]), delivered) == ()
    assert loop_models(History([user(), calling(call("call_2", city="Rome")), result("call_2")]), delivered) == ()


def test_what_the_message_says_goes_first() -> None:
    delivered = DeliveredCalls()
    delivered.add(LOOP[1]["tool_calls"], "a")
    messages = [user(), {**LOOP[1], "model": "b"}, result("call_1")]
    assert loop_models(History(messages), delivered) == ("b", "a")


@pytest.mark.parametrize(
    "messages",
    [[user()], [*LOOP, user("And now?")], [*LOOP, {"role": "assistant", "content": "Sunny."}], [result("call_1")]],
)
def test_a_loop_is_over_at_the_next_message_of_the_user(messages: list[Json]) -> None:
    delivered = DeliveredCalls()
    delivered.add(LOOP[1]["tool_calls"], "a")
    assert loop_models(History(messages), delivered) == ()


def test_the_oldest_calls_are_forgotten() -> None:
    delivered = DeliveredCalls()
    for number in range(MOST_CALLS + 1):
        delivered.add([call(f"call_{number}")], "a")
    assert delivered.model([call("call_0")]) is None
    assert delivered.model([call("call_1")]) == "a"


def test_what_is_no_call_is_passed_over() -> None:
    delivered = DeliveredCalls()
    delivered.add([None, {}, {"id": 1}, call(None), {"id": "a", "function": {"arguments": "{broken"}}], "a")
    assert delivered.model([None, call("b"), {"id": "a", "function": {"arguments": "{broken"}}]) == "a"
