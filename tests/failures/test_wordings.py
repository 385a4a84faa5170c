"""What the words of a refusal mean: every row of the tables is found by a message, by whichever way it comes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from openrouter_fallback.failures.classifier import from_error, from_response, refused_parameter
from openrouter_fallback.failures.kinds import Failure, FailureKind
from openrouter_fallback.failures.overflows import OVERFLOWS
from openrouter_fallback.failures.wordings import HISTORIES, LIMITS, POLICIES, SHORT_FIELDS

from ..cases.failures import NOW
from ..cases.wordings import ABOUT_ANOTHER, ABOUT_IT, IN_OTHER_WORDS, ITEMS, MISSING, OTHERS, WRONG, of_a_provider
from ..cases.wordings import LIMITS as OF_A_MODEL
from ..cases.wordings import OVERFLOWS as TOO_LONG
from ..cases.wordings import POLICIES as UNWANTED

K = FailureKind
ROWS = (*TOO_LONG, *OTHERS)
ROW = pytest.mark.parametrize(("who", "status", "says", "kind"), ROWS, ids=[f"{row[0]}: {row[2][:40]}" for row in ROWS])


def read(status: int, body: Any) -> Failure:
    return from_response(status, {}, orjson.dumps(body), now=NOW)


@ROW
def test_without_a_provider(who: str, status: int, says: str, kind: K) -> None:
    bodies: tuple[Any, ...] = (
        {"error": {"message": says, "type": "invalid_request_error" if status == 400 else None}},
        {"error": says},
        {"message": says},
        {"detail": says},
        {"errors": [{"message": says}]},
        [{"error": {"code": status, "message": says}}],
        {"object": "error", "message": says, "code": status},
        {"error": orjson.dumps({"error": {"message": says}}).decode()},
    )
    for body in bodies:
        assert read(status, body).kind is kind, body


@ROW
def test_passed_on_by_openrouter(who: str, status: int, says: str, kind: K) -> None:
    expected = of_a_provider(status, kind)
    for raw in (says, orjson.dumps({"error": {"message": says}}).decode(), {"error": {"message": says}}):
        metadata = {"raw": raw, "provider_name": who}
        failure = read(status, {"error": {"message": "Provider returned error", "code": status, "metadata": metadata}})
        assert (failure.kind, failure.provider) == (expected, who)


@pytest.mark.parametrize(("who", "says"), [(who, says) for who, _, says, _ in TOO_LONG])
def test_too_long_in_a_stream_and_of_a_broken_server(who: str, says: str) -> None:
    """A server that fails at it answers with 500, and in a stream there is no status."""
    assert from_error({"message": says}, now=NOW).kind is K.CONTEXT_TOO_LONG
    if who not in (IN_OTHER_WORDS, "LiteLLM", "mlx-serve"):
        assert read(500, {"error": {"message": says}}).kind is K.CONTEXT_TOO_LONG


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize("says", UNWANTED)
def test_content_that_is_refused(says: str, status: int) -> None:
    assert read(status, {"error": {"message": says}}).kind is K.CONTENT_POLICY


@pytest.mark.parametrize("says", OF_A_MODEL)
def test_a_limit_of_one_model(says: str) -> None:
    assert read(400, {"error": {"message": says}}).kind in (K.REJECTED, K.UNSUPPORTED)


@pytest.mark.parametrize("status", [400, 404])
@pytest.mark.parametrize("says", MISSING)
def test_a_model_that_does_not_exist(says: str, status: int) -> None:
    failure = read(status, {"error": {"message": says}})
    assert (failure.kind, failure.harmless) == (K.NOT_FOUND, False)


@pytest.mark.parametrize(("model", "says"), [*ABOUT_IT, *ABOUT_ANOTHER])
def test_which_model_does_not_exist(model: str, says: str) -> None:
    failure = from_response(404, {}, orjson.dumps({"error": {"message": says}}), now=NOW, model=model)
    assert (failure.kind, failure.harmless) == (K.NOT_FOUND, (model, says) in ABOUT_ANOTHER)


@pytest.mark.parametrize("status", [400, 404])
@pytest.mark.parametrize("says", ITEMS)
def test_an_item_that_does_not_exist(says: str, status: int) -> None:
    assert read(status, {"error": {"message": says}}).kind is K.REJECTED


@pytest.mark.parametrize("says", WRONG)
def test_a_request_that_every_model_would_refuse(says: str) -> None:
    assert read(400, {"error": {"message": says}}).kind is K.INVALID_REQUEST


def test_a_404_that_names_the_model_is_about_it() -> None:
    body = orjson.dumps({"error": {"message": "acme/nope-1 is unheard of", "code": 404}})
    about = [from_response(404, {}, body, now=NOW, model=model).harmless for model in ("acme/nope-1", "acme/other", "")]
    assert about == [False, True, True]


def test_at_least_25_servers() -> None:
    assert len({who for who, *_ in TOO_LONG}) >= 25
    assert all(sign.source and sign.server for sign in (*OVERFLOWS, *LIMITS, *POLICIES, *HISTORIES, *SHORT_FIELDS))


@pytest.mark.parametrize("sign", OVERFLOWS, ids=lambda sign: f"{sign.server}: {sign.pattern[:30]}")
def test_every_wording_is_some_server_s(sign: Any) -> None:
    """A row that no message needs is no row."""
    import re

    assert any(re.search(sign.pattern, says, re.IGNORECASE) for _, _, says, _ in TOO_LONG)


@pytest.mark.parametrize(
    "says",
    [
        "max_tokens is too large: 200000. This model supports at most 16384 completion tokens",
        "`max_tokens` must be less than or equal to `16384`",
        "Range of max_tokens should be [1, 8192]",
    ],
)
def test_the_longest_answer_of_a_model_is_told_from_its_context(says: str) -> None:
    assert read(400, {"error": {"message": says}}).code == "max_tokens_exceeded"


_LOC = [
    {
        "type": "extra_forbidden",
        "loc": ["body", "stream_options", "include_usage"],
        "msg": "Extra inputs are not permitted",
    }
]


@pytest.mark.parametrize(
    ("status", "body", "parameter"),
    [
        (422, {"detail": _LOC}, "stream_options"),
        (422, {"object": "error", "message": {"detail": _LOC}, "type": "invalid_request_error"}, "stream_options"),
        (400, {"object": "Error", "message": _LOC, "detail": _LOC, "code": 3001}, "stream_options"),
        (400, {"error": {"message": "Unrecognized request argument supplied: stream_options"}}, "stream_options"),
        (
            400,
            {"error": {"message": "Unknown parameter: 'stream_options'.", "param": "stream_options"}},
            "stream_options",
        ),
        (400, {"error": {"message": "no", "param": "stream_options.include_usage"}}, "stream_options"),
        (400, {"error": {"message": "property 'parallel_tool_calls' is unsupported"}}, "parallel_tool_calls"),
        (400, {"message": 'json: unknown field "stream_options"'}, "stream_options"),
        (422, {"error": "unknown field `parallel_tool_calls`, expected one of `model`"}, "parallel_tool_calls"),
        (400, {"error": {"message": "Additional properties are not allowed ('usage' was unexpected)"}}, "usage"),
        (500, {"detail": "create() got an unexpected keyword argument 'stream_options'"}, "stream_options"),
        (400, {"error": {"message": 'Unknown name "stream_options": Cannot find field.'}}, "stream_options"),
        (400, {"error": {"message": "extraneous key [include_usage] is not permitted"}}, "stream_options"),
        (
            400,
            {"error": {"message": "'parallel_tool_calls' is only allowed when 'tools' are specified"}},
            "parallel_tool_calls",
        ),
        (
            400,
            {
                "error": {
                    "message": "Provider returned error",
                    "metadata": {
                        "raw": '{"message": "Extra inputs are not permitted: stream_options"}',
                        "provider_name": "M",
                    },
                }
            },
            "stream_options",
        ),
        (400, {"error": {"message": "Unknown parameter: 'top_k'.", "param": "top_k"}}, None),
        (400, {"error": {"message": "The usage of this model is not allowed here"}}, None),
        (429, {"error": {"message": "stream_options is not supported"}}, None),
        (400, {"error": {"message": "messages.0.usage_note: Extra inputs are not permitted"}}, None),
    ],
)
def test_which_of_our_parameters_is_refused(status: int, body: Any, parameter: str | None) -> None:
    failure = read(status, body)
    assert refused_parameter(failure) == parameter
    if parameter is not None:
        assert refused_parameter(failure, without={parameter}) is None
