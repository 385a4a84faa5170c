"""Answers that are not what they say, and refusals in many servers' words: what goes over the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest

from openrouter_fallback.emulator import FAULTS, Emulator
from openrouter_fallback.emulator.faults.refusals import REFUSALS
from openrouter_fallback.emulator.faults.shapes import SHAPES

from ..helpers import Asker, Json, chunks_of, events, join

TWO_CALLS = [{"name": "get_weather", "arguments": {"city": "Oslo"}}, {"name": "get_time", "arguments": {}}]


@pytest.fixture
def calling(emulator: Emulator) -> None:
    emulator.reply(tool_calls=TWO_CALLS)


def finishes(chunks: list[Json]) -> list[Any]:
    return [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]


def names(chunks: list[Json]) -> list[tuple[int, str]]:
    """Every name in every delta, with the index of its call."""
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    calls = [call for delta in deltas for call in delta.get("tool_calls") or ()]
    return [(call["index"], call["function"]["name"]) for call in calls if call["function"].get("name")]


def arguments(chunks: list[Json]) -> list[Any]:
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return [call["function"]["arguments"] for delta in deltas for call in delta.get("tool_calls") or ()]


def test_a_finish_in_every_chunk(emulator: Emulator, ask: Asker) -> None:
    healthy = join(ask.chunks())
    emulator.fault("finish_in_every_chunk")
    chunks = ask.chunks()
    assert set(finishes(chunks)) == {"stop"}
    assert join(chunks)["choices"][0]["message"] == healthy["choices"][0]["message"]


@pytest.mark.usefixtures("calling")
def test_a_finish_in_each_call_s_own_chunk(emulator: Emulator, ask: Asker) -> None:
    emulator.fault("finish_in_each_call")
    chunks = ask.chunks()
    assert finishes(chunks)[-2:] == ["tool_calls", "tool_calls"]
    assert names(chunks) == [(0, "get_weather"), (1, "get_time")]
    assert len(ask.body()["choices"][0]["message"]["tool_calls"]) == 2


def test_a_finish_that_is_null(emulator: Emulator, ask: Asker) -> None:
    emulator.fault("finish_null")
    text = ask.post(stream=True, max_tokens=5).text
    assert set(finishes(chunks_of(text))) == {None}
    assert text.endswith("[DONE]\n\n")
    assert join(chunks_of(text))["usage"]["completion_tokens"] == 5
    assert ask.body()["choices"][0]["finish_reason"] is None


@pytest.mark.parametrize("finish", ["abort", "network_error", "ERROR"])
def test_half_an_answer_with_a_foreign_finish(emulator: Emulator, ask: Asker, finish: str) -> None:
    emulator.fault("finish_abort", finish=finish, after_tokens=2)
    for choice in (join(ask.chunks())["choices"][0], ask.body()["choices"][0]):
        assert (choice["message"]["content"], choice["finish_reason"]) == ("openai/gpt-5.1", finish)


@pytest.mark.parametrize(
    ("kind", "content", "finish"),
    [
        ("malformed_function_call", "", "stop"),
        ("calls_without_call", "", "tool_calls"),
        ("white_space_only", " \n\n ", "stop"),
        ("length_empty", "", "length"),
    ],
)
def test_answers_without_an_answer(emulator: Emulator, ask: Asker, kind: str, content: str, finish: str) -> None:
    emulator.fault(kind)
    whole = ask.body(max_tokens=7)
    for answer in (join(ask.chunks(max_tokens=7)), whole):
        (choice,) = answer["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == (content, finish)
        assert not choice["message"].get("tool_calls")
    if kind == "length_empty":
        assert whole["usage"]["completion_tokens_details"]["reasoning_tokens"] == 7
    if kind == "malformed_function_call":
        assert whole["choices"][0]["native_finish_reason"] == "MALFORMED_FUNCTION_CALL"


@pytest.mark.usefixtures("calling")
def test_names_in_parts_and_names_repeated(emulator: Emulator, ask: Asker) -> None:
    with emulator.fault("name_in_two_parts"):
        assert names(ask.chunks()) == [(0, "get_w"), (0, "eather"), (1, "get_"), (1, "time")]
    with emulator.fault("names_repeated"):
        found = names(ask.chunks())
    assert {name for index, name in found if index == 0} == {"get_weather"}
    assert len(found) > 3


@pytest.mark.usefixtures("calling")
def test_arguments_that_are_no_string(emulator: Emulator, ask: Asker) -> None:
    rows: tuple[tuple[str, Json, list[Any]], ...] = (
        ("null_arguments", {}, [None, None]),
        ("null_arguments", {"value": "null"}, ["null", "null"]),
        ("object_arguments", {}, [{"city": "Oslo"}, {}]),
    )
    for kind, details, expected in rows:
        with emulator.fault(kind, **details):
            assert arguments(ask.chunks()) == expected
            calls = ask.body()["choices"][0]["message"]["tool_calls"]
        assert [call["function"]["arguments"] for call in calls] == expected


@pytest.mark.parametrize(
    "kind",
    ["finish_in_each_call", "name_in_two_parts", "names_repeated", "null_arguments", "object_arguments"],
)
def test_an_answer_without_calls_stays_as_it_is(emulator: Emulator, ask: Asker, kind: str) -> None:
    healthy = join(ask.chunks())
    emulator.fault(kind)
    assert join(ask.chunks()) == healthy
    assert emulator.log[-1].ended == "finished"


def test_a_malformed_call_beside_a_good_answer(emulator: Emulator, ask: Asker) -> None:
    emulator.fault("malformed_delta")
    chunks = ask.chunks()
    odd = [
        c["choices"][0]["delta"]["tool_calls"]
        for c in chunks
        if c["choices"] and "tool_calls" in c["choices"][0]["delta"]
    ]
    assert odd == [[{"index": 9, "function": None}]]
    assert ask.body()["choices"][0]["message"]["tool_calls"] == odd[0]


def test_logprobs_and_comments(emulator: Emulator, ask: Asker) -> None:
    with emulator.fault("logprobs_number"):
        assert {choice["logprobs"] for chunk in ask.chunks() for choice in chunk["choices"]} == {-0.25}
        assert ask.body()["choices"][0]["logprobs"] == -0.25
    with emulator.fault("comment_as_data"):
        assert next(iter(events(ask.post(stream=True).text))) == ": OPENROUTER PROCESSING"


def test_an_error_beside_stop(emulator: Emulator, ask: Asker) -> None:
    emulator.fault("choice_error_beside_stop", after_tokens=2)
    last = next(c["choices"][0] for c in reversed(ask.chunks()) if c["choices"])
    for choice in (last, ask.body()["choices"][0]):
        assert (choice["finish_reason"], choice["error"]["code"]) == ("stop", 502)


def test_usage(emulator: Emulator, ask: Asker) -> None:
    found = {}
    for kind in ("usage_null", "usage_absurd", "usage_other_names", "byok"):
        with emulator.fault(kind):
            found[kind] = ask.body()["usage"]
            assert ask.chunks()[-1]["usage"] == found[kind]
    assert found["usage_null"] is None
    assert (found["usage_absurd"]["prompt_tokens"], found["usage_absurd"]["completion_tokens"]) == (-7, 1e300)
    assert found["usage_other_names"] == {"input_tokens": 6, "output_tokens": 20, "total_tokens": 26}
    assert (found["byok"]["cost"], found["byok"]["is_byok"]) == (0, True)
    assert found["byok"]["cost_details"]["upstream_inference_cost"] > 0


FORCED: Json = {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "required"}
# kind, what the request has, the status, words somewhere in the body; None: it is answered
REFUSED: list[tuple[str, Json, int, str | None]] = [
    ("overflow_anthropic", {}, 400, "prompt is too long: 208310 tokens > 200000 maximum"),
    ("overflow_google", {}, 400, "exceeds the maximum number of tokens allowed"),
    ("overflow_llama_cpp", {}, 400, "exceeds the available context size"),
    ("overflow_mistral", {}, 400, "too large for model with 131072 maximum context length"),
    ("overflow_moonshot", {}, 400, "exceeded model token limit"),
    ("overflow_openai", {}, 400, "context_length_exceeded"),
    ("overflow_vllm", {}, 400, "maximum context length is 8192 tokens"),
    ("overflow_xai", {}, 400, "maximum prompt length is 131072"),
    ("id_too_long", {}, 400, "string_above_max_length"),
    ("max_tokens_too_large", {"max_tokens": 5000}, 400, "max_tokens is too large: 5000"),
    ("max_tokens_too_large", {"max_tokens": 4096}, 200, None),
    ("stream_options_refused", {"stream_options": {"include_usage": True}}, 422, "extra_forbidden"),
    ("stream_options_refused", {}, 200, None),
    ("tool_choice_refused", FORCED, 404, "'tool_choice' value"),
    ("tool_choice_refused", {}, 200, None),
    ("item_not_found", {}, 404, "Item with id 'rs_0f' not found"),
    ("usage_guidelines", {}, 403, "Content violates usage guidelines."),
    ("cannot_afford", {}, 402, "You requested up to 64000 tokens, but can only afford 2666."),
    ("cannot_afford", {"max_tokens": 2666}, 200, None),
    ("free_limit", {"model": "openai/gpt-oss-20b:free"}, 429, "free-models-per-day"),
    ("free_limit", {}, 200, None),
    ("retry_info", {}, 429, "google.rpc.RetryInfo"),
    ("retry_after_ms", {}, 429, "Rate limit exceeded"),
    ("retry_in_words", {}, 429, "Please try again in 20s."),
    ("error_without_key", {}, 429, '{"code":429,"message":"Too many requests"}'),
    ("error_string", {}, 503, '{"error":"The server is overloaded"}'),
    ("detail_error", {}, 503, '{"detail":"Service Unavailable"}'),
    ("errors_list", {}, 429, '"errors":[{"code":429,'),
    ("google_error", {}, 429, '[{"error":{"code":429,'),
    ("cloudflare_error", {}, 520, "error code: 520"),
]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True], ids=["unstreamed", "streamed"])
@pytest.mark.parametrize(("kind", "fields", "status", "said"), REFUSED, ids=[f"{row[0]}-{row[2]}" for row in REFUSED])
def test_refusals(
    emulator: Emulator, ask: Asker, kind: str, fields: Json, status: int, said: str | None, stream: bool
) -> None:
    emulator.fault(kind)
    response = ask.post(stream=stream, **fields)
    assert response.status_code == status
    assert emulator.log[-1].fault == kind
    if said is not None:
        assert said in response.text


@pytest.mark.parametrize("kind", [kind for kind, row in REFUSALS.items() if "place" in row.details])
def test_errors_without_error_in_a_stream(emulator: Emulator, ask: Asker, kind: str) -> None:
    emulator.fault(kind, place="sse", after_tokens=3)
    response = ask.post(stream=True)
    assert response.status_code == 200
    *_, last = response.text.strip().split("\n\n")
    name, _, data = last.rpartition("data: ")
    assert name == ("event: error\n" if kind == "error_without_key" else "")
    assert json.loads(data)
    assert emulator.log[-1].tokens_sent == 3
    assert ask.post().status_code >= 400


def test_where_the_time_to_wait_stands(emulator: Emulator, ask: Asker) -> None:
    with emulator.fault("retry_after_ms", wait=1.5):
        assert ask.post().headers["retry-after-ms"] == "1500"
    with emulator.fault("retry_info", wait=7):
        raw = ask.post().json()["error"]["metadata"]["raw"]
        assert json.loads(raw)["error"]["details"][0]["retryDelay"] == "7s"
    with emulator.fault("free_limit"):
        response = ask.post(model="a/b:free")
        assert (
            response.headers["x-ratelimit-reset"]
            == response.json()["error"]["metadata"]["headers"]["X-RateLimit-Reset"]
        )


def test_every_row_has_its_source_and_its_test() -> None:
    assert {row[0] for row in REFUSED} == set(REFUSALS)
    assert all(FAULTS[kind].source and FAULTS[kind].doc for kind in (*SHAPES, *REFUSALS))
