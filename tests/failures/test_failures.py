"""Every error shape becomes the right `Failure`, and nothing makes the reader fail."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openrouter_fallback.failures.classifier import (
    find_error,
    from_error,
    from_response,
    from_transport,
    parse_retry_after,
    timed_out,
)
from openrouter_fallback.failures.kinds import Failure, FailureKind, TransportFault

from ..cases.failures import IN_30_SECONDS, MESSAGES, NOW, WIRE_CASES, Case
from ..cases.shapes import SHAPES

K = FailureKind
RECORDINGS = Path(__file__).resolve().parents[3] / "shared" / "openrouter" / "recordings"
KEY = "sk-or-v1-0123456789abcdef0123456789abcdef"


def check(failure: Failure, case: Case) -> None:
    assert failure.kind is case.kind, failure
    assert {name: getattr(failure, name) for name in case.extras} == case.extras
    assert case.says in failure.message
    assert_bounded(failure)


def assert_bounded(failure: Failure) -> None:
    assert 0 < len(failure.message) <= 300
    assert failure.message.isprintable() or not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", failure.message)
    assert failure.message.splitlines() == [failure.message]
    failure.message.encode()
    for text in (failure.message, failure.provider or "", failure.code or ""):
        assert KEY not in text
        assert "<html" not in text.lower()
    assert failure.retry_after is None or 0 <= failure.retry_after < float("inf")
    assert failure.status is None or 300 <= failure.status < 600


class _Counted(dict[str, Any]):
    """Counts the fields that are read one after the other."""

    read = 0

    def items(self) -> Any:
        for item in super().items():
            type(self).read += 1
            yield item


def test_of_an_answer_with_very_many_fields_only_the_first_are_looked_through() -> None:
    """Two million fields held the loop for 9 s."""
    many = _Counted({f"field {number}": number for number in range(10_000)}, message="no")
    assert find_error(many) is many
    assert from_error(many, headers={}, now=NOW).message == "no"
    assert _Counted.read < 1_000


def test_the_names_of_the_cases_differ() -> None:
    names = [case.name for case in (*WIRE_CASES, *SHAPES)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", [*WIRE_CASES, *SHAPES], ids=lambda case: case.name)
def test_response(case: Case) -> None:
    check(from_response(case.status, case.headers, case.content, now=NOW), case)


@pytest.mark.parametrize("place", ["body", "choice", "choices null"])
@pytest.mark.parametrize("case", [c for c in WIRE_CASES if c.status == 200], ids=lambda case: case.name)
def test_error_found_under_200(case: Case, place: str) -> None:
    assert isinstance(case.body, dict)
    error = case.body["error"]
    payload: dict[str, Any] = {
        "body": {"id": "gen-1", "error": error},
        "choice": {"choices": [{"index": 0}, {"index": 1, "finish_reason": "error", "error": error}]},
        "choices null": {"choices": None, "error": error},
    }[place]
    found = find_error(payload)
    assert found is error
    check(from_error(found, status=200, now=NOW), case)


@pytest.mark.parametrize("case", [c for c in SHAPES if c.status == 200], ids=lambda case: case.name)
def test_any_shape_is_found_under_200(case: Case) -> None:
    """In a whole body, and as the only chunk of a stream."""
    payload = orjson.loads(case.content)
    found = find_error(payload)
    assert found is not None
    check(from_error(found, status=200, now=NOW), case)
    assert find_error({"id": "1", "choices": [{"index": 0, "delta": {"content": "x"}}], "usage": None}) is None


@pytest.mark.parametrize(("message", "kind"), MESSAGES)
def test_bare_message(message: str, kind: FailureKind) -> None:
    for error in ({"message": message}, message, {"error": {"message": message}}, [{"message": message}]):
        failure = from_error(error, now=NOW)
        assert failure.kind is kind, failure
        assert failure.status is None
        assert_bounded(failure)


@pytest.mark.parametrize(
    "payload",
    [
        {"choices": [{"index": 0, "delta": {"content": "error"}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "error": None}], "error": None},
        {"choices": [], "usage": {"cost": 0.1}},
        {"choices": None},
        {"choices": "error"},
        {"choices": [None, "error", 3]},
        {},
        [],
        "",
        None,
        7,
        {"type": "ping"},
        {"code": 0, "msg": "success"},
        {"code": "200", "message": "ok"},
        {"id": "1", "object": "chat.completion.chunk", "choices": [], "usage": None},
        {"usage": {"total_tokens": 3}, "status": "done"},
        {"base_resp": {"status_code": 0, "status_msg": ""}},
        {"message": {"role": "assistant", "content": "native"}, "done": False},
        {"id": "gen-1", "model": "a/b", "provider": "P"},
    ],
)
def test_no_error(payload: object) -> None:
    assert find_error(payload) is None


def test_finish_reason_error_alone() -> None:
    found = find_error({"choices": [{"finish_reason": "error", "message": {"content": "half"}}]})
    failure = from_error(found, status=200, now=NOW)
    assert failure.kind is K.UNAVAILABLE
    assert "finish_reason: error" in failure.message


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2", 2.0),
        (" 2.5 ", 2.5),
        ("400", 400.0),
        ("0", 0.0),
        ("-3", 0.0),
        ("7, 7", 7.0),
        (IN_30_SECONDS, 30.0),
        ("Thu, 06 Aug 2026 09:07:10 +0200", 30.0),
        ("Thursday, 06-Aug-26 07:07:10 GMT", 30.0),
        ("Thu Aug  6 07:07:10 2026", 30.0),
        ("Thu, 06 Aug 2020 07:07:10 GMT", 0.0),
        ("nan", None),
        ("inf", None),
        ("-inf", None),
        ("1e999", None),
        ("soon", None),
        ("", None),
        ("Thu, 99 Foo 2026 07:07:10 GMT", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    for status in (402, 429, 503):
        failure = from_response(status, {"retry-after": value}, b"", now=NOW)
        assert failure.retry_after == seconds


def test_retry_after_in_order() -> None:
    """The unreadable is absent: the next source is asked."""
    reset = str(int((NOW + 90) * 1000))
    metadata: dict[str, Any] = {"headers": {"x-ratelimit-RESET": reset}}
    error: dict[str, Any] = {"availability": {"retry_after": 12}, "metadata": metadata}
    headers = {"retry-after": "3", "x-ratelimit-reset": str(int((NOW + 60) * 1000))}
    seen = [parse_retry_after(headers, error, limited=True, now=NOW)]
    headers["retry-after"] = "soon"
    seen.append(parse_retry_after(headers, error, limited=True, now=NOW))
    error["availability"]["retry_after"] = float("nan")
    metadata["retry_after_seconds"] = 11
    seen.append(parse_retry_after(headers, error, limited=True, now=NOW))
    del metadata["retry_after_seconds"]
    seen.append(parse_retry_after(headers, error, limited=True, now=NOW))
    headers["x-ratelimit-reset"] = "12 parsecs"
    seen.append(parse_retry_after(headers, error, limited=True, now=NOW))
    metadata["headers"] = {"Retry-After": 5}
    seen.append(parse_retry_after(headers, error, limited=True, now=NOW))
    assert seen == [3.0, 12.0, 11.0, 60.0, 90.0, 5.0]


@pytest.mark.parametrize(
    ("status", "reset", "seconds"),
    [
        (429, str(int((NOW + 60) * 1000)), 60.0),
        (429, str(int((NOW - 60) * 1000)), 0.0),
        (429, str(int(NOW + 60)), 60.0),
        (429, str(int(NOW - 60)), 0.0),
        (429, "60", 60.0),
        (429, "-60", 0.0),
        (429, "6m0s", 360.0),
        (429, "1.2s", 1.2),
        (429, "250ms", 0.25),
        (429, "1h2m3.5s", 3723.5),
        (429, "2d", 172_800.0),
        (429, "2026-08-06T07:07:40Z", 60.0),
        (429, IN_30_SECONDS, 30.0),
        (429, "99999999999999999999", None),
        (429, str(33 * 86_400), None),
        (429, "in a while", None),
        (429, "nan", None),
        (503, str(int((NOW + 60) * 1000)), None),
    ],
)
def test_rate_limit_reset(status: int, reset: str, seconds: float | None) -> None:
    failure = from_response(status, {"x-ratelimit-reset": reset}, b"", now=NOW)
    assert failure.retry_after == seconds


@pytest.mark.parametrize("fault", TransportFault)
def test_transport(fault: TransportFault) -> None:
    connection = {"refused", "not_connected", "dns", "tls", "reset_before_status", "proxy"}
    local = {"pool_exhausted", "no_files", "loop_closed", "our_bug"}
    kind = K.CONNECTION if fault in connection else K.LOCAL if fault in local else K.BAD_ANSWER
    failure = from_transport(fault, f"[Errno 111]\n Bearer {KEY}")
    assert failure.kind is kind
    assert failure.code == fault
    assert failure.message.endswith("[Errno 111] ***")
    assert not from_transport(fault, "").message.endswith(":")


def test_deadline() -> None:
    failure = timed_out("first token", 30.0)
    assert failure == Failure(K.TIMED_OUT, "first token deadline of 30 s passed")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"bad key {KEY}.", "bad key ***"),
        (f"Authorization: Bearer {KEY}, no", "Authorization: ***, no"),
        ("header bearer eyJhbGciOi.abc.def", "header ***"),
        (f"key={KEY}\u200bx", "key=***"),
        ("xsk-or-v1-aa11", "x***"),
        ("sk-\u200bor-v1-aa11", "***"),
        ("sk-ant-api03-AbC_9", "***"),
        ("no bearer auth", "no bearer auth"),
        ("a risk-free, task-or-tool answer", "a risk-free, task-or-tool answer"),
        ("a\x00b\x1b[0m\u2028c\u202ed\n\n e", "ab[0m cd e"),
        ("lone \ud800 half", "lone half"),
    ],
)
def test_message_is_clean(text: str, message: str) -> None:
    assert from_error({"message": text, "code": 500}, now=NOW).message == message


def test_prompt_is_never_quoted() -> None:
    prompt = "how do I build\n a birdhouse"
    metadata = {"reasons": ["x"], "flagged_input": prompt, "raw": prompt}
    for message in (f'flagged: "{prompt}"', "", "Provider returned error", "z" * 290 + prompt):
        failure = from_error({"message": message, "code": 403, "metadata": metadata}, now=NOW)
        assert failure.kind is K.MODERATION
        assert "how do" not in failure.message
        assert "birdhouse" not in failure.message


@pytest.mark.parametrize("raw", ["x" * 601, '{"input": "the prompt"}', '{"cut off: "', 7, None, [], {"input": "p"}])
def test_raw_that_is_no_message(raw: object) -> None:
    error = {"message": "Provider returned error", "code": 502, "metadata": {"raw": raw}}
    assert from_error(error, now=NOW).message == "Provider returned error"


def test_failure_can_be_pickled() -> None:
    failure = from_response(429, {"retry-after": "2"}, b"", now=NOW)
    assert pickle.loads(pickle.dumps(failure)) == failure


def recorded(name: str) -> list[dict[str, Any]]:
    path = RECORDINGS / name
    if not path.is_file():
        pytest.skip("the recordings (../shared/openrouter/recordings) are not beside this repository")
    interactions: list[dict[str, Any]] = yaml.safe_load(path.read_text())["interactions"]
    return [interaction["response"] for interaction in interactions]


def test_recorded_429() -> None:
    for response in recorded("errors_raised.yaml"):
        headers = {name: values[0] for name, values in response["headers"].items()}
        status, body = response["status"]["code"], orjson.dumps(response["parsed_body"])
        failure = from_response(status, headers, body, now=NOW)
        assert (failure.kind, failure.status, failure.provider) == (K.RATE_LIMITED, 429, "Google")
        assert failure.message.startswith("Provider returned error: google/gemini-2.0-flash-exp:free is temporarily")
        assert_bounded(failure)


def test_recorded_stream_error() -> None:
    [response] = recorded("stream_error.yaml")
    lines = re.findall(r"^data: (\{.*)$", response["body"]["string"], re.MULTILINE)
    found = [find_error(orjson.loads(line)) for line in lines]
    assert found == [None, None, None, {"code": 400, "message": "Token limit reached"}]
    failure = from_error(found[3], status=200, now=NOW)
    assert (failure.kind, failure.status) == (K.CONTEXT_TOO_LONG, 400)


def test_healthy_recordings_have_no_error() -> None:
    chunks = 0
    for name in ("streaming_reasoning.yaml", "tool_calling.yaml", "usage.yaml", "web_search_annotations_stream.yaml"):
        for response in recorded(name):
            text = (response.get("body") or {}).get("string", "")
            payloads = [orjson.loads(line) for line in re.findall(r"^data: (\{.*)$", text, re.MULTILINE)]
            payloads += [response["parsed_body"]] if "parsed_body" in response else []
            assert all(find_error(payload) is None for payload in payloads)
            chunks += len(payloads)
    assert chunks


texts = st.one_of(
    st.text(),
    st.sampled_from([KEY, f"Bearer {KEY}", f"<html><title>{KEY}</title>", "Provider returned error", "429", "nan"]),
    st.builds("{}{}{}".format, st.text(max_size=400), st.just(KEY), st.text("\x00\u200b<>é", max_size=9)),
)
names = st.sampled_from(
    (
        "error",
        "message",
        "code",
        "type",
        "metadata",
        "availability",
        "error_type",
        "http_status",
        "status",
        "retryable",
        "retry_after",
        "raw",
        "reasons",
        "patterns",
        "flagged_input",
        "provider_name",
        "headers",
        "Retry-After",
        "X-RateLimit-Reset",
        "choices",
        "finish_reason",
        "detail",
        "errors",
        "details",
        "retryDelay",
        "loc",
        "msg",
        "__type",
        "base_resp",
        "status_code",
        "status_msg",
        "throttlingException",
        "innererror",
        "param",
    )
)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
anything = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names | st.text(), inner, max_size=6)
)
statuses = st.integers(100, 599)
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@unhurried
@given(anything, st.none() | statuses, st.dictionaries(st.sampled_from(["retry-after", "x-ratelimit-reset"]), texts))
def test_any_error(error: object, status: int | None, headers: dict[str, str]) -> None:
    assert_bounded(from_error(error, status=status, headers=headers, now=NOW))


@unhurried
@given(st.dictionaries(names | st.text(), anything, max_size=6))
def test_any_payload(payload: dict[str, object]) -> None:
    found = find_error(payload)
    assert_bounded(from_error(found, status=200, now=NOW))
    assert payload.get("error") is None or found is payload["error"] or found is payload


@unhurried
@given(statuses, st.binary() | anything.map(lambda value: orjson.dumps(_encodable(value))))
def test_any_body(status: int, body: bytes) -> None:
    assert_bounded(from_response(status, {}, body, now=NOW))


def _encodable(value: object) -> object:
    """The value without what orjson refuses: lone surrogates and integers beyond 64 bits."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and not isinstance(value, bool):
        return value % (1 << 60)
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    if isinstance(value, dict):
        return {str(_encodable(key)): _encodable(item) for key, item in value.items()}
    return value


@pytest.mark.parametrize(
    "char",
    [
        *("<", "sk-", "bearer ", "max_tokens ", "model ", "{", "[", "<title", "too many ", "exceed ", "item id "),
        *("tokens ", "try again in 1m", "image ", '{"error":', '"', "temperature must ", "1m", "\\"),
    ],
)
def test_hostile_text_is_read_in_no_time(char: str) -> None:
    """A megabyte that provokes every pattern: bounded by what is looked at, not by what came."""
    assert_bounded(from_response(400, {}, (char * (1 << 20)).encode()[: 1 << 20], now=NOW))
    assert_bounded(from_error({"message": char * 100_000, "metadata": {"raw": char * 100_000}}, now=NOW))
