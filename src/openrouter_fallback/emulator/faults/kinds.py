"""The table of all faults: `FAULTS[kind]` describes a fault and makes its plan."""

from __future__ import annotations

import difflib
from copy import deepcopy
from dataclasses import replace
from typing import Any

import orjson

from ..answers import completion
from ..answers.chunks import COMMENT, DONE, event, head, split
from .errors import ERROR_DETAILS, ERRORS, PLACES, Details, error_chunk, error_plan
from .kind import BARE, Kind, called, fault, with_choice
from .plan import (
    Forever,
    HangUp,
    Plan,
    Scene,
    Send,
    Step,
    Wait,
    healthy,
    opening,
    partly,
    sends,
    unstreamed,
    whole,
)
from .refusals import REFUSALS
from .shapes import SHAPES

_SPACE = b" \n"


def _keep_alive(scene: Scene) -> bytes:
    return COMMENT if scene.stream else _SPACE


def _silence(scene: Scene, details: Details) -> Plan:
    return fault(scene, [Forever(_keep_alive(scene), details["interval"])])


def _no_response(scene: Scene, details: Details) -> Plan:
    return Plan([Forever(b"", 60.0)], status=None)


def _stall(scene: Scene, details: Details) -> Plan:
    start = partly(scene, details["after_tokens"]) if scene.stream else []
    return fault(scene, [*start, Forever(_keep_alive(scene), details["interval"])])


def _stall_dead(scene: Scene, details: Details) -> Plan:
    start = partly(scene, details["after_tokens"]) if scene.stream else [Send(_SPACE)]
    return fault(scene, [*start, Forever(b"", 60.0)])


def _half(scene: Scene, details: Details) -> list[Step]:
    if scene.stream:
        return partly(scene, details["after_tokens"])
    data = orjson.dumps(scene.body)
    return [Send(data[: len(data) // 2])]


def _truncated(scene: Scene, details: Details) -> Plan:
    return fault(scene, _half(scene, details))


def _cut(scene: Scene, details: Details) -> Plan:
    return fault(scene, [*_half(scene, details), HangUp()])


def _reset(scene: Scene, details: Details) -> Plan:
    return Plan([HangUp(reset=True)], status=None)


def _reset_mid(scene: Scene, details: Details) -> Plan:
    return fault(scene, [*_half(scene, details), HangUp(reset=True)])


def _empty(scene: Scene, details: Details) -> Plan:
    body = with_choice(scene, {**BARE, "content": details["content"]}, "stop")
    body["usage"] |= {"cost": 0.0}
    return fault(scene, whole(scene, body))


def _reasoning_only(scene: Scene, details: Details) -> Plan:
    message = {**BARE, "reasoning": details["reasoning"]}
    return fault(scene, whole(scene, with_choice(scene, message, details["finish"])))


def _no_choices(scene: Scene, details: Details) -> Plan:
    if not scene.stream:
        return fault(scene, unstreamed(scene, {**scene.body, "choices": details["choices"]}))
    chunk = {**head(scene.body), "choices": details["choices"]}
    return fault(scene, [*opening(scene), Send(event(chunk)), Send(DONE)])


_TOOL_ENDS: dict[str, str | None] = {"silent": None, "finish": "tool_calls", "length": "length"}


def _tool_calls(scene: Scene, calls: list[dict[str, Any]], finish: str | None) -> Plan:
    body = with_choice(scene, {"content": "", "tool_calls": calls}, finish)
    if finish is None and scene.stream:
        del body["usage"]
        return fault(scene, [*opening(scene), *sends(split(body))])
    return fault(scene, whole(scene, body))


def _cut_tool_call(scene: Scene, details: Details) -> Plan:
    calls = called(scene)
    function = calls[-1]["function"]
    function["arguments"] = function["arguments"][: max(1, len(function["arguments"]) // 2)]
    return _tool_calls(scene, calls, _TOOL_ENDS[details["end"]])


def _tool_call_no_finish(scene: Scene, details: Details) -> Plan:
    return _tool_calls(scene, called(scene), None)


def _bad_json(scene: Scene, details: Details) -> Plan:
    garbage = f"data: {details['data']}\n\n".encode()
    if not scene.stream:
        return fault(scene, [Send(details["data"].encode())])
    start = partly(scene, details["after_tokens"])
    return fault(scene, [*start, Send(garbage), *whole(scene, scene.body)[len(start) :]])


_PAGE = "<!DOCTYPE html><html><head><title>{status}</title></head><body><h1>Something is wrong</h1></body></html>"


def _html(scene: Scene, details: Details) -> Plan:
    page = details["page"].replace("{status}", str(details["status"]))
    return Plan([Send(page.encode())], status=details["status"], media_type="text/html; charset=utf-8")


def _whitespace(scene: Scene, details: Details) -> Plan:
    wait = Wait(details["seconds_before"], _keep_alive(scene), details["interval"])
    return replace(healthy(scene), steps=[wait, *whole(scene, scene.body)])


def _slow(scene: Scene, details: Details) -> Plan:
    return healthy(replace(scene, latency=details["delay"]))


def _oversized(scene: Scene, details: Details) -> Plan:
    body = with_choice(scene, BARE, "stop")
    content = "x" * details["size"]
    if not scene.stream:
        body["choices"][0]["message"]["content"] = content
        return fault(scene, [Send(_SPACE * (details["comments_bytes"] // len(_SPACE))), Send(orjson.dumps(body), 1)])
    comments = Send(COMMENT * -(-details["comments_bytes"] // len(COMMENT)))
    role, *end = split(body)
    choice = {"index": 0, "delta": {"role": "assistant", "content": content}, "finish_reason": None}
    big = {**head(body), "choices": [choice]}
    return fault(scene, [*opening(scene), comments, *sends([role, big, *end]), Send(DONE)])


def _content_filter(scene: Scene, details: Details) -> Plan:
    message = deepcopy(scene.body["choices"][0]["message"])
    completion.shorten(message, details["after_tokens"])
    return fault(scene, whole(scene, with_choice(scene, message, "content_filter")))


def _redirect(scene: Scene, details: Details) -> Plan:
    return Plan([Send(b"")], status=details["status"], headers={"Location": details["location"]})


def _error_after_finish(scene: Scene, details: Details) -> Plan:
    body = with_choice(scene, {}, details["finish"])
    if not scene.stream:
        error = {"code": details["code"], "message": details["message"]}
        return fault(scene, unstreamed(scene, {**body, "error": error}))
    usage = body.pop("usage")
    chunk = error_chunk(scene, {"code": details["code"], "message": details["message"]})
    chunk["choices"][0] |= {"finish_reason": None, "native_finish_reason": None}
    end = [Send(event({**chunk, "usage": usage})), Send(DONE)]
    return fault(scene, [*opening(scene), *sends(split(body)), *end])


def _silence_after_finish(scene: Scene, details: Details) -> Plan:
    if not scene.stream:
        return _stall(scene, {**details, "after_tokens": 0})
    body = {key: value for key, value in scene.body.items() if key != "usage"}
    return fault(scene, [*opening(scene), *sends(split(body)), Forever(COMMENT, details["interval"])])


def _no_done(scene: Scene, details: Details) -> Plan:
    steps = healthy(scene).steps
    return replace(healthy(scene), steps=steps[:-1] if scene.stream else steps)


_INTERVAL = {"interval": 0.05}
_AFTER = {"after_tokens": 5}

FAULTS: dict[str, Kind] = {
    **{
        name: Kind(
            f"{row.status}: {row.message}", error_plan(row), ERROR_DETAILS, {"place": PLACES}, "OpenRouter, errors"
        )
        for name, row in ERRORS.items()
    },
    **REFUSALS,
    **SHAPES,
    "silence": Kind("200, then only keep-alive (comments or white space) every `interval` s.", _silence, _INTERVAL),
    "no_response": Kind("The request is accepted and never answered: no status line, no bytes.", _no_response),
    "stall": Kind("Some tokens, then only keep-alive every `interval` s.", _stall, _AFTER | _INTERVAL),
    "stall_dead": Kind("Some tokens, then no more bytes; the connection stays open.", _stall_dead, _AFTER),
    "truncated": Kind("Some tokens, then the body ends correctly, without finish or [DONE].", _truncated, _AFTER),
    "cut": Kind("Some tokens, then the connection closes inside the body.", _cut, _AFTER),
    "reset": Kind("The connection is reset before the status line.", _reset),
    "reset_mid": Kind("Some tokens, then the connection is reset.", _reset_mid, _AFTER),
    "empty": Kind("200, finish `stop`, and no content (`content` may be None).", _empty, {"content": ""}),
    "reasoning_only": Kind(
        "Reasoning, and then no content.", _reasoning_only, {"reasoning": "Let me think about it.", "finish": "stop"}
    ),
    "no_choices": Kind("200 with `choices` null, or [] with `choices=`.", _no_choices, {"choices": None}),
    "cut_tool_call": Kind(
        "A tool call with half of its arguments; then the stream ends without a finish (`silent`), with the finish "
        "`tool_calls` (`finish`), or with the finish `length` (`length`).",
        _cut_tool_call,
        {"end": "silent"},
        {"end": tuple(_TOOL_ENDS)},
    ),
    "tool_call_no_finish": Kind("A complete tool call, but the answer never finishes.", _tool_call_no_finish),
    "bad_json": Kind(
        "One event (unstreamed: the body) that is not JSON.", _bad_json, _AFTER | {"data": '{"id":"gen-broken","cho'}
    ),
    "html": Kind("A web page instead of an answer, as from a proxy.", _html, {"status": 200, "page": _PAGE}),
    "whitespace": Kind(
        "Healthy, after `seconds_before` s of white space (or comments).",
        _whitespace,
        {"seconds_before": 0.2} | _INTERVAL,
    ),
    "slow": Kind("Healthy, but the first token comes only after `delay` s.", _slow, {"delay": 1.0}),
    "oversized": Kind(
        "One event of `size` bytes, after `comments_bytes` of comments.",
        _oversized,
        {"size": 2 * 2**20, "comments_bytes": 0},
    ),
    "content_filter": Kind("Some tokens, then finish `content_filter`.", _content_filter, _AFTER),
    "redirect": Kind(
        "A redirect to `location`, as to a login page, a maintenance page, or a new address of the API.",
        _redirect,
        {"status": 307, "location": "http://127.0.0.1:9/api/v1/elsewhere"},
    ),
    "error_after_finish": Kind(
        "A finished answer (`finish`), then an error.",
        _error_after_finish,
        {"finish": "length", "code": 400, "message": "Token limit reached"},
    ),
    "silence_after_finish": Kind("A finish, then only keep-alive: no usage, no end.", _silence_after_finish, _INTERVAL),
    "no_done": Kind("Healthy and finished, but without [DONE].", _no_done),
}
"""Every fault by its name."""


def unknown(kind: str) -> str:
    """The error message for an unknown kind: the similar kinds, else all kinds."""
    near = difflib.get_close_matches(kind, FAULTS, n=3)
    meant = f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are: {', '.join(FAULTS)}"
    return f"there is no fault {kind!r}; {meant}"
