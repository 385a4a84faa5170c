"""Every fault's shape on the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from openrouter_fallback.emulator import FAULTS, Emulator
from openrouter_fallback.emulator.answers.chunks import COMMENT
from openrouter_fallback.emulator.faults.errors import ERRORS
from openrouter_fallback.emulator.faults.schedule import Schedule

from ..helpers import MODEL, Asker, chunks_of, events, join, request

UNENDING = {"silence", "no_response", "stall", "stall_dead", "silence_after_finish"}
HEALTHY = {"whitespace", "slow", "no_done"}
ODDLY_TOLD = {
    *("finish_in_every_chunk", "finish_in_each_call", "name_in_two_parts", "names_repeated", "null_arguments"),
    *("name_grows", "empty_arguments_first", "arguments_repeated"),
    *("object_arguments", "malformed_delta", "logprobs_number", "comment_as_data"),
    *("usage_null", "usage_absurd", "usage_other_names", "byok"),
}
REFUSES_SOME = {
    *("max_tokens_too_large", "stream_options_refused", "tool_choice_refused", "free_limit"),
}
BROKEN = {"cut": httpx2.RemoteProtocolError, "reset": httpx2.ReadError, "reset_mid": httpx2.ReadError}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"q": {}}, "required": ["q"]}}}


def first(emulator: Emulator, ask: Asker, read: int, **fields: Any) -> bytes:
    """The first bytes of an answer that does not end; then the client leaves, and the log has noted it."""
    with ask.http.stream("POST", "/chat/completions", json=request(**fields)) as response:
        assert response.status_code == 200
        got = b""
        for part in response.iter_raw():
            got += part
            if len(got) >= read:
                break
    emulator.wait_for(lambda log: log[-1].ended == "gone")
    return got


@pytest.mark.parametrize("name", ERRORS)
def test_errors_as_a_status(emulator: Emulator, ask: Asker, name: str) -> None:
    row = ERRORS[name]
    emulator.fault(name, retry_after=7)
    for stream in (False, True):
        response = ask.post(stream=stream)
        assert response.status_code == row.status
        assert response.headers["retry-after"] == "7"
        assert response.headers["content-type"] == "application/json"
        error = response.json()["error"]
        assert error["code"] == row.status
        assert error["message"]
        assert "{" not in error["message"]
        metadata = error.get("metadata", {})
        assert metadata.get("error_type") == row.error_type
        assert ("raw" in metadata) is row.upstream
        if row.availability:
            availability = {"code": row.availability, "retryable": row.retryable, "retry_after": 7}
            assert error["availability"] == {**availability, "requested_models": [MODEL]}
    assert [(entry.ended, entry.fault, entry.status) for entry in emulator.log] == [("fault", name, row.status)] * 2


def test_every_documented_row_is_there() -> None:
    documented = """
        context_length_exceeded invalid_request max_tokens_exceeded invalid_prompt token_limit_exceeded not_found
        string_too_long precondition_failed authentication payload_too_large payment_required unprocessable
        permission_denied content_policy_violation rate_limit_exceeded refusal provider_overloaded invalid_image
        unsupported_image_format provider_unavailable server unmapped timeout model_not_found temporarily_unavailable
        wrong_endpoint region_restricted no_endpoints privacy_restricted model_deprecated constraint_filtered
        model_unavailable_upstream free_variant_ended capacity_exhausted
    """
    assert set(documented.split()) <= set(FAULTS)
    assert all(kind.doc for kind in FAULTS.values())


def test_an_error_in_a_body_under_200(emulator: Emulator, ask: Asker) -> None:
    emulator.fault("provider_unavailable", place="body", requests=1)
    emulator.fault("provider_unavailable", place="body", choices_null=True)
    first_body, second_body = ask.body(), ask.body(stream=True)
    assert first_body.keys() == {"error"}
    assert first_body["error"]["code"] == 502
    assert second_body["choices"] is None


@pytest.mark.parametrize("tokens", [0, 4])
def test_an_error_in_a_choice(emulator: Emulator, ask: Asker, tokens: int) -> None:
    emulator.fault("provider_overloaded", place="choice", after_tokens=tokens)
    choice = ask.body()["choices"][0]
    assert choice["finish_reason"] == "error"
    assert choice["error"]["metadata"]["error_type"] == "provider_overloaded"
    assert bool(choice["message"]["content"]) is bool(tokens)
    text = ask.post(stream=True).text
    chunks = chunks_of(text)
    last = chunks[-2]["choices"][0]
    assert last["error"] == choice["error"]
    assert join(chunks)["choices"][0]["message"]["content"] == choice["message"]["content"]
    assert emulator.log[-1].tokens_sent == tokens


@pytest.mark.parametrize("tokens", [0, 4])
def test_an_error_in_a_stream(emulator: Emulator, ask: Asker, tokens: int) -> None:
    emulator.fault("server", place="sse", after_tokens=tokens, code="server_error")
    response = ask.post(stream=True)
    assert response.status_code == 200
    *before, last = chunks_of(response.text)
    assert last["error"]["code"] == "server_error"
    assert last["choices"][0]["finish_reason"] == "error"
    assert len([c for c in before if c["choices"][0]["delta"]["content"]]) == tokens
    assert "[DONE]" not in response.text
    assert "error" in ask.body()


def test_http_takes_everything(emulator: Emulator, ask: Asker) -> None:
    details: dict[str, Any] = {"message": "Slow down", "error_type": "rate_limit_exceeded", "metadata": {"raw": "x"}}
    emulator.fault("http", status=429, headers={"X-RateLimit-Reset": "1700000000000"}, requests=1, **details)
    emulator.fault("http", status=503, body="upstream connect error", requests=1)
    emulator.fault("capacity_exhausted", direct=True, availability={"fallback_models": ["a/b"]})
    response = ask.post()
    assert response.headers["x-ratelimit-reset"] == "1700000000000"
    assert response.json()["error"] == {
        "code": 429,
        "message": "Slow down",
        "metadata": {"error_type": "rate_limit_exceeded", "raw": "x"},
    }
    # It was the second fault's first request too: the first one won it.
    assert ask.post().json()["error"] == {
        "message": f"No capacity left for {MODEL}.",
        "http_status": 429,
        "error_type": "rate_limit_exceeded",
        "availability": {
            "code": "capacity_exhausted",
            "retryable": True,
            "requested_models": [MODEL],
            "fallback_models": ["a/b"],
        },
    }
    emulator.clear_faults()
    emulator.fault("http", status=503, body="upstream connect error")
    assert ask.post().text == "upstream connect error"


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "unstreamed"])
def test_silence_is_keep_alive_for_ever(emulator: Emulator, ask: Asker, stream: bool) -> None:
    emulator.fault("silence", interval=0.001)
    got = first(emulator, ask, 100, stream=stream)
    assert set(events(got.decode())) == {":"} if stream else not got.strip()
    assert emulator.log[-1].first_token_at is None
    assert emulator.log[-1].fault == "silence"


@pytest.mark.parametrize("kind", ["stall", "stall_dead"])
def test_a_stall_comes_after_tokens(emulator: Emulator, ask: Asker, kind: str) -> None:
    emulator.fault(kind, after_tokens=3)
    with ask.http.stream("POST", "/chat/completions", json=request(stream=True)) as response:
        emulator.wait_for(lambda log: log[-1].tokens_sent == 3)
        got = b""
        for part in response.iter_raw():
            got += part
            if got.count(b"data: ") == 4:
                break
    log = emulator.wait_for(lambda log: log[-1].ended == "gone")
    assert log[-1].tokens_sent == 3
    assert b'"finish_reason":"' not in got


def test_no_response(emulator: Emulator, ask: Asker) -> None:
    emulator.fault("no_response")
    with pytest.raises(httpx2.ReadTimeout):
        ask.http.post("/chat/completions", json=request(), timeout=0.05)
    log = emulator.wait_for(lambda log: log and log[-1].ended == "gone")
    assert log[-1].status is None


def test_silence_after_the_finish(emulator: Emulator, ask: Asker) -> None:
    emulator.fault("silence_after_finish", interval=0.001)
    got = first(emulator, ask, 6_500, stream=True)
    assert b'"finish_reason":"stop"' in got
    assert b"usage" not in got


def test_truncated(emulator: Emulator, ask: Asker) -> None:
    emulator.fault("truncated", after_tokens=2)
    text = ask.post(stream=True).text
    choice = join(chunks_of(text))["choices"][0]
    assert choice["message"]["content"] == "openai/gpt-5.1"
    assert choice["finish_reason"] is None
    assert "[DONE]" not in text
    with pytest.raises(json.JSONDecodeError):
        ask.post().json()


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "unstreamed"])
@pytest.mark.parametrize("kind", BROKEN)
def test_broken_connections(emulator: Emulator, ask: Asker, kind: str, stream: bool) -> None:
    emulator.fault(kind)
    with pytest.raises(BROKEN[kind]):
        ask.post(stream=stream)
    entry = emulator.log[-1]
    assert (entry.ended, entry.status) == ("fault", None if kind == "reset" else 200)
    emulator.clear_faults()
    assert ask.body(stream=False)["choices"]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "unstreamed"])
@pytest.mark.parametrize(
    ("kind", "details", "message", "finish"),
    [
        ("empty", {}, {"content": "", "reasoning": ""}, "stop"),
        ("reasoning_only", {}, {"content": "", "reasoning": "Let me think about it."}, "stop"),
        ("reasoning_only", {"finish": "length"}, {"content": "", "reasoning": "Let me think about it."}, "length"),
        ("content_filter", {"after_tokens": 2}, {"content": "openai/gpt-5.1"}, "content_filter"),
    ],
)
def test_poor_answers(
    emulator: Emulator, ask: Asker, stream: bool, kind: str, details: Any, message: dict[str, str], finish: str
) -> None:
    emulator.fault(kind, **details)
    choice = (join(ask.chunks()) if stream else ask.body())["choices"][0]
    assert {key: choice["message"][key] or "" for key in message} == message
    assert choice["finish_reason"] == finish


def test_no_choices(emulator: Emulator, ask: Asker) -> None:
    emulator.fault("no_choices")
    assert ask.body()["choices"] is None
    assert [chunk["choices"] for chunk in ask.chunks()] == [None]


@pytest.mark.parametrize("tools", [{}, {"tools": [TOOL]}], ids=["no tools", "tools"])
@pytest.mark.parametrize(("end", "finish"), [("silent", None), ("finish", "tool_calls"), ("length", "length")])
def test_a_tool_call_cut_off(emulator: Emulator, ask: Asker, end: str, finish: str | None, tools: Any) -> None:
    emulator.fault("cut_tool_call", end=end)
    text = ask.post(stream=True, **tools).text
    streamed = join(chunks_of(text))["choices"][0]
    whole = ask.body(**tools)["choices"][0]
    for choice, calls in ((streamed, streamed["message"]["tool_calls"]), (whole, whole["message"]["tool_calls"])):
        assert choice["finish_reason"] == finish
        with pytest.raises(json.JSONDecodeError):
            json.loads(calls[0]["function"]["arguments"])
    assert ("[DONE]" in text) is (finish is not None)


def test_a_tool_call_that_never_finishes(emulator: Emulator, ask: Asker) -> None:
    emulator.fault("tool_call_no_finish")
    text = ask.post("f of 'this'", stream=True, tools=[TOOL]).text
    choice = join(chunks_of(text))["choices"][0]
    assert json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"]) == {"q": "this"}
    assert choice["finish_reason"] is None
    assert "[DONE]" not in text


def test_one_event_that_is_not_json(emulator: Emulator, ask: Asker) -> None:
    emulator.fault("bad_json", after_tokens=2)
    found = [event for event in events(ask.post(stream=True).text) if event not in (":", "[DONE]")]
    assert found[3].endswith('"cho')
    del found[3]
    assert join(map(json.loads, found))["choices"][0]["finish_reason"] == "stop"
    with pytest.raises(json.JSONDecodeError):
        ask.post().json()


def test_pages_and_redirects(emulator: Emulator, ask: Asker) -> None:
    emulator.fault("html", status=502, requests=1)
    emulator.fault("html", requests=(2, 2))
    emulator.fault("redirect")
    pages = [ask.post(), ask.post(stream=True)]
    assert [page.status_code for page in pages] == [502, 200]
    assert all(page.headers["content-type"].startswith("text/html") for page in pages)
    redirect = ask.post()
    assert (redirect.status_code, redirect.headers["location"]) == (307, "http://127.0.0.1:9/api/v1/elsewhere")


def test_healthy_in_the_end(emulator: Emulator, ask: Asker) -> None:
    healthy = join(ask.chunks())
    emulator.fault("whitespace", seconds_before=0.02, interval=0.005, requests=2)
    emulator.fault("slow", delay=0.02, requests=(3, 4))
    emulator.fault("no_done")
    padded = ask.post()
    assert padded.text.startswith(" \n")
    assert padded.json()["choices"][0]["message"]["content"] == healthy["choices"][0]["message"]["content"]
    for _ in range(2):
        assert join(ask.chunks()) == healthy
    assert ask.body()["usage"] == healthy["usage"]
    text = ask.post(stream=True).text
    assert join(chunks_of(text)) == healthy
    assert "[DONE]" not in text
    assert {entry.ended for entry in emulator.log} == {"finished"}


def test_oversized(emulator: Emulator, ask: Asker) -> None:
    emulator.fault("oversized", size=300_000, comments_bytes=200_000)
    text = ask.post(stream=True).text
    assert max(map(len, events(text))) > 300_000
    assert text.count(COMMENT.decode()) * len(COMMENT) > 200_000
    assert join(chunks_of(text))["choices"][0]["finish_reason"] == "stop"
    assert len(ask.body()["choices"][0]["message"]["content"]) == 300_000


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "unstreamed"])
@pytest.mark.parametrize("kind", sorted(set(FAULTS) - set(ERRORS) - UNENDING - set(BROKEN)))
def test_every_fault_that_ends_is_in_the_log(emulator: Emulator, ask: Asker, kind: str, stream: bool) -> None:
    brief: dict[str, Any] = {"whitespace": {"seconds_before": 0.01}, "slow": {"delay": 0.01}}
    emulator.fault(kind, **brief.get(kind, {}))
    emulator.reply(tokens=6)
    ask.post(stream=stream)
    entry = emulator.log[-1]
    assert (entry.fault, entry.ended) == (kind, "finished" if kind in HEALTHY | ODDLY_TOLD | REFUSES_SOME else "fault")
    assert entry.finished_at is not None


@pytest.fixture
def statuses(emulator: Emulator, ask: Asker) -> Iterator[Any]:
    def take(count: int, **fields: Any) -> list[int]:
        return [ask.post(**fields).status_code for _ in range(count)]

    return take  # type: ignore[return-value]


def test_which_requests(emulator: Emulator, statuses: Any) -> None:
    emulator.fault("server", model="a/b", requests=(2, 3))
    assert statuses(2) == [200, 200]
    assert statuses(4, model="a/b") == [200, 500, 500, 200]
    emulator.fault("timeout", requests=(2, None))
    assert statuses(3) == [200, 504, 504]


def test_the_first_fault_wins_and_handles_lift(emulator: Emulator, statuses: Any) -> None:
    with emulator.fault("server"):
        second = emulator.fault("timeout")
        assert statuses(1) == [500]
    assert statuses(1) == [504]
    second.clear()
    second.clear()
    assert statuses(1) == [200]


def test_probability_is_seeded(emulator: Emulator, statuses: Any) -> None:
    emulator.fault("server", probability=0.5)
    seen = statuses(20)
    assert {200, 500} == set(seen)
    with Emulator(seed=0) as twin:
        twin.fault("server", probability=0.5)
        ask = Asker(twin)
        assert [ask.post().status_code for _ in range(20)] == seen
        ask.http.close()


def test_seconds_from_when_it_was_set() -> None:
    now = [100.0]
    schedule = Schedule(0, lambda: now[0])
    schedule.add("server", None, None, (5, 20), 1.0, {})
    picked = []
    for now[0] in (104.0, 105.0, 120.0, 121.0):
        picked.append(schedule.pick("a/b") is not None)
    assert picked == [False, True, True, False]


@pytest.mark.parametrize(
    ("kind", "details", "error", "words"),
    [
        ("rate_limit", {}, ValueError, r"no fault 'rate_limit'; did you mean 'free_limit' or 'rate_limit_exceeded'\?$"),
        ("429", {}, ValueError, "no fault '429'; there are: context_length_exceeded, .*, no_done$"),
        ("silence", {"intervall": 1}, TypeError, "takes no intervall; its details: interval"),
        ("server", {"place": "header"}, ValueError, "place of fault 'server' is one of"),
        ("http", {"status": 9999}, ValueError, "status of fault 'http' is a status from 200 to 599, not 9999"),
        ("http", {"status": "503"}, ValueError, "status of fault 'http' is a status"),
        ("http", {"headers": 5}, TypeError, "headers of fault 'http' is a mapping"),
        ("truncated", {"after_tokens": -3}, ValueError, "after_tokens of fault 'truncated' is a number of tokens"),
        ("cut_tool_call", {"end": "loud"}, ValueError, "end of fault"),
        ("server", {"requests": (0, 2)}, ValueError, "counts from 1"),
        ("server", {"requests": (3, 2)}, ValueError, "counts from 1"),
        ("server", {"probability": 2}, ValueError, "from 0 to 1"),
    ],
)
def test_mistakes_are_told(emulator: Emulator, kind: str, details: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words.replace("(", r"\(")):
        emulator.fault(kind, **details)
