"""Streams: what has been delivered, and going on from it."""

from __future__ import annotations

from typing import Any

from openrouter_fallback.answer.seam import ContinuationMode
from openrouter_fallback.decision.commands import Limits
from openrouter_fallback.routes.needs import RequestTraits

from ...support.timeline import SILENT, Script, chunks, fails, ok
from .words import (
    BREAKS,
    E400,
    E404,
    E503,
    EMPTY,
    NO_PREFILL,
    OK,
    ONE_FAILED,
    POLICY,
    REFUSED,
    TOO_LONG,
    TURNED_DOWN,
    Case,
    K,
    always,
    breaks,
    every,
    failure,
)


def call(name: str, arguments: str) -> dict[str, Any]:
    return {"index": 0, "id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}


def chunk(index: int = 0, *, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"id": "g", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


TOOL_END = chunk(tool_calls=[{"index": 0, "function": {"arguments": "{}"}}], finish="tool_calls")
CHOICE_ERROR = {
    "id": "g",
    "choices": [{"index": 1, "delta": {}, "finish_reason": "error", "error": {"code": 503, "message": "overloaded"}}],
}
NOTHING = chunk(tool_calls=[{}], reasoning_details=[{}])
PART = chunk(tool_calls=[{"index": 0, "function": {"arguments": "1"}}])
CALLED, TEXT = chunk(tool_calls=[call("f", "")]), chunk(content="x")
STREAMS = [
    Case(
        "tool calls and reasoning details with nothing in them are no tokens",
        "a b", {"a": always(chunks(*((float(second), NOTHING) for second in range(1, 100))))},
        "a@0 b&@30", "b @31", streamed=True,
    ),
    Case(
        "nor do they keep an answer alive",
        "a b", {"a": always(((1.0, "reasoning"), *chunks(*((float(second), NOTHING) for second in range(2, 100)))))},
        "a@0 b@31", "b @32", streamed=True, limits=Limits(wall_clock=False),
    ),
    Case(
        "the call's deadline holds for a tool call of which nothing was delivered",
        "a", {"a": always(chunks((1.0, CALLED), *((float(at), PART) for at in range(2, 400))))},
        "a@0", "DeadlineExceededError @300", streamed=True, limits=Limits(wall_clock=False),
    ),
    Case(
        "the call's deadline does not hold for a tool call behind delivered text",
        "a", {"a": always(chunks((1.0, TEXT), (2.0, CALLED), (290.0, TEXT), (500.0, TOOL_END)))},
        "a@0", "a @500", streamed=True, limits=Limits(wall_clock=False),
    ),
    Case(
        "finish_reason length with half a tool call: an answer",
        "a b", {"a": always(chunks((1, chunk(tool_calls=[call("f", '{"x": ')])), (2, chunk(finish="length"))))},
        "a@0", "a @2", streamed=True, health={"a": "closed +1 -0"},
    ),
    Case(
        "finish_reason length and then an error: an answer",
        "a b", {"a": always(chunks((1, chunk(content="x")), (2, chunk(finish="length"))))},
        "a@0", "a @2", streamed=True, health={"a": "closed +1 -0"},
    ),
    Case(
        "a complete tool call and no finish: nothing was delivered, so the next one answers",
        "a b", {"a": always(chunks((1, chunk(tool_calls=[call("f", "{}")]))))},
        "a@0 b@1", "b @2", streamed=True, health={"a": ONE_FAILED},
    ),
    Case(
        "a tool call's arguments have 300 s",
        "a b", {"a": always(((0, "status"), (1, chunk(tool_calls=[call("f", "")])), *chunks((200, TOOL_END))))},
        "a@0", "a @200", streamed=True, limits=Limits(wall_clock=False),
    ),
    Case(
        "and no more than the call, as long as nothing was delivered",
        "a b", {"a": always(((0, "status"), (1, chunk(tool_calls=[call("f", "")])), *chunks((200, TOOL_END))))},
        "a@0", "DeadlineExceededError @60", streamed=True, limits=Limits(total=60, wall_clock=False),
    ),
    Case(
        "one choice of two in error before any text",
        "a b", {"a": always(chunks((1, chunk(0, role="assistant")), (1, CHOICE_ERROR)))}, "a@0 b@1", "b @2",
        streamed=True, health={"a": ONE_FAILED},
    ),
    Case(
        "one choice of two in error after the other's text",
        "a b", {"a": always(chunks((1, chunk(0, content="x")), (2, CHOICE_ERROR)))}, "a@0",
        "StreamInterruptedError @2", streamed=True, health={"a": ONE_FAILED},
    ),
    Case(
        "one choice of two in error, not streamed: starts over",
        "a b", {"a": always(chunks((1, chunk(0, content="x")), (2, CHOICE_ERROR)))}, "a@0 b@2", "b @3",
        health={"a": ONE_FAILED},
    ),
    Case(
        "cut off after text",
        "a b", {"a": always(((1, "text"), (2, EMPTY)))}, "a@0", "StreamInterruptedError @2", streamed=True,
        health={"a": ONE_FAILED},
    ),
    Case(
        "a stall after text",
        "a b", {"a": always(((1, "text"),))}, "a@0", "StreamInterruptedError @31", streamed=True,
        health={"a": ONE_FAILED},
    ),
    Case(
        "content policy after text keeps its class",
        "a b", {"a": always(((1, "text"), (2, POLICY)))}, "a@0", "ContentPolicyError @2", streamed=True,
    ),
    Case(
        "a stall that the user has set holds inside a tool call too",
        "a b", {"a": always(((0, "status"), (1, chunk(tool_calls=[call("f", "{")]))))}, "a@0 b@6", "b @7",
        limits=Limits(stall=5.0), health={"a": ONE_FAILED},
    ),
    Case(
        "what nobody has seen gives no new time",
        "a b",
        {"a": always(((0, "status"), (4, chunk(tool_calls=[call("f", "{")])), (9.5, EMPTY))), "b": always(ok(8))},
        "a@0 b@9.5", "DeadlineExceededError @10", streamed=True, limits=Limits(total=10, wall_clock=False),
    ),
    Case(
        "cut off after reasoning: the next one starts over",
        "a b", {"a": always(((1, "reasoning"), (2, EMPTY)))}, "a@0 b@2", "b @3", streamed=True,
        health={"a": ONE_FAILED},
    ),
]  # fmt: skip

GOES_ON = RequestTraits(continues=True)


def goes_on(name: str, chain: str, script: Script, requests: str, outcome: str, waits: str = "", **more: Any) -> Case:
    """A streamed call that may go on from delivered text."""
    return Case(f"going on: {name}", chain, script, requests, outcome, waits, facts=GOES_ON, streamed=True, **more)


GOING_ON = [
    goes_on("the next model", "a b", {"a": BREAKS}, "a@0 b+@2", "b @3", health={"a": ONE_FAILED, "b": "closed +1 -0"}),
    goes_on("three models", "a b c", {"a": BREAKS, "b": BREAKS}, "a@0 b+@2 c+@4", "c @5"),
    goes_on(
        "who died is asked again only when nobody is left, not at once", "a b",
        {"a": [*BREAKS, *OK], "b": always(E503)}, "a@0 b+@2 a+@2.5", "a @3.5", "2-2.5",
    ),
    goes_on(
        "whoever failed before the text is waited for rather than who died", "b a",
        {"b": always(failure(K.OVERLOADED, 503, retry_after=5.0), ok()), "a": BREAKS}, "b@0 a@0 b+@5", "b @6", "2-5",
    ),
    goes_on("an only model goes on itself", "a", {"a": [*BREAKS, *OK]}, "a@0 a+@2.5", "a @3.5", "2-2.5"),
    goes_on(
        "a reconnect is no reason to wait for who died", "a b", {"a": breaks(REFUSED)}, "a@0 b+@2", "b @3",
    ),
    goes_on(
        "a refused prefill is asked once more at once, costs no attempt and no health", "a b",
        {"a": BREAKS, "b": [fails(NO_PREFILL), *OK]}, "a@0 b+@2 b~@2", "b @3", health={"b": "closed +1 -0"},
    ),
    goes_on(
        "both attempts are left after a refused prefill", "a b",
        {"a": [*BREAKS, fails(E404)], "b": always(NO_PREFILL, E503, ok())}, "a@0 b+@2 b~@2 a+@2.5 b~@2.5", "b @3.5",
        "2-2.5",
    ),
    goes_on(
        "an instruction that is refused as well is a failure", "a b c", {"a": BREAKS, "b": always(NO_PREFILL)},
        "a@0 b+@2 b~@2 c+@2", "c @3",
    ),
    goes_on(
        "an invalid request may be our own doing", "a b c", {"a": BREAKS, "b": always(E400)},
        "a@0 b+@2 b~@2 c+@2", "c @3",
    ),
    goes_on("a prompt that is too long is no refused prefill", "a b c", {"a": BREAKS, "b": always(TOO_LONG)},
            "a@0 b+@2 c+@2", "c @3"),
    goes_on("a 400 after a token is no refused prefill", "a b c",
            {"a": BREAKS, "b": always(((0.0, "status"), (0.5, "reasoning"), (1.0, NO_PREFILL)))},
            "a@0 b+@2 c+@3", "c @4"),
    goes_on("the content policy of the next is final", "a b c", {"a": BREAKS, "b": always(POLICY)},
            "a@0 b+@2", "ContentPolicyError @2"),
    goes_on("the content policy of the first is final", "a b", {"a": breaks(POLICY)}, "a@0", "ContentPolicyError @2"),
    goes_on("an invalid request of the first is final", "a b", {"a": breaks(E400)}, "a@0", "StreamInterruptedError @2"),
    goes_on("never", "a b c", {"a": BREAKS}, "a@0 c+@2", "c @3", models={"b": {"continues": ContinuationMode.NEVER}}),
    goes_on("nobody ever", "a b", {"a": BREAKS}, "a@0", "StreamInterruptedError @2",
            models={"a": {"continues": ContinuationMode.NEVER}, "b": {"continues": ContinuationMode.NEVER}}),
    goes_on("never goes on but begins", "b a", {"b": always(E503)}, "b@0 a@0", "a @1",
            models={"b": {"continues": ContinuationMode.NEVER}}),
    goes_on("by instruction", "a b", {"a": BREAKS}, "a@0 b~@2", "b @3",
            models={"b": {"continues": ContinuationMode.INSTRUCT}}),
    goes_on("a code block only by prefill", "a b c", {"a": BREAKS}, "a@0 c+@2", "c @3", only_prefill=True,
            models={"b": {"continues": ContinuationMode.INSTRUCT}}),
    goes_on("a refused prefill of a code block", "a b c", {"a": BREAKS, "b": always(NO_PREFILL)}, "a@0 b+@2 c+@2",
            "c @3", only_prefill=True, health={"b": "closed +0 -0"}),
    goes_on("text that was held back when it died is nobody's", "a b c",
            {"a": BREAKS, "b": always(((0.0, "status"), (1.0, TURNED_DOWN)))}, "a@0 b+@2 c+@3", "c @4",
            health={"b": "closed +0 -0"}),
    goes_on("everybody breaks off", "a b", {"a": BREAKS, "b": BREAKS}, "a@0 b+@2 a+@4 b+@6",
            "StreamInterruptedError @8", health={"a": ONE_FAILED, "b": ONE_FAILED}),
    goes_on("reasoning before the text", "a b",
            {"a": BREAKS, "b": always(((1, "reasoning"), (2, "text"), (2, "answer")))},
            "a@0 b+@2", "b @4"),
    goes_on("died while reasoning: that starts over", "a b c",
            {"a": always(((1, "reasoning"), (2, EMPTY))), "b": BREAKS},
            "a@0 b@2 c+@4", "c @5"),
    goes_on("the deadline is anew at a seam", "a b", {"a": always(every(9, "text", EMPTY)), "b": always(ok(8))},
            "a@0 b+@9 a&+@16.5", "b @17", limits=Limits(total=10, wall_clock=False)),
    goes_on("the caller's own deadline is not", "a b", {"a": always(every(9, "text", EMPTY)), "b": always(ok(8))},
            "a@0 b+@9 a&+@9.75", "DeadlineExceededError @10", limits=Limits(total=10, wall_clock=True)),
    goes_on("leaving it", "a b", {"a": BREAKS, "b": always(SILENT)}, "a@0 b+@2", "left @3", leaves=3.0,
            health={"b": "closed +0 -0"}),
]  # fmt: skip
