"""Answers as servers send them: the events of a stream, how the body ends, and what must come of it.

`GOOD` rows are the only model's answer; `BAD` rows are the first model's, behind which a second one is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from openrouter_fallback.failures.kinds import FailureKind as K

from ..support.bodies import Json, delta, part

USAGE: Json = {"id": "gen", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}
DONE = "[DONE]"


def call(index: int | None, finish: str | None = None, **function: Any) -> Json:
    """A chunk with one whole tool call."""
    number = 0 if index is None else index
    function = {"name": "look_up", "arguments": f'{{"n": {number}}}', **function}
    entry: Json = {"id": f"call_{number}", "type": "function", "function": function}
    return delta(finish=finish, tool_calls=[entry if index is None else {"index": index, **entry}])


@dataclass(frozen=True, slots=True)
class Good:
    """`text`, `calls` (name and arguments) and `finish` of the answer; `tokens` of its usage."""

    events: Sequence[Json | str]
    text: str = ""
    calls: Sequence[tuple[str, Json]] = ()
    finish: str = "stop"
    tokens: int | None = None
    ending: Literal["proper", "cut"] = "proper"
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bad:
    """`kind` of the first model's attempt, and words of its message."""

    events: Sequence[Json | str]
    kind: K = K.BAD_ANSWER
    says: str = ""
    ending: Literal["proper", "cut"] = "proper"
    params: Mapping[str, Any] = field(default_factory=dict)


def _at_zero(number: int) -> Json:
    chunk = call(number, "tool_calls")
    chunk["choices"][0]["delta"]["tool_calls"][0]["index"] = 0
    return chunk


_FIFTEEN = tuple(("look_up", {"n": number}) for number in range(15))

GOOD: Mapping[str, Good] = {
    # The end
    "a finish in an empty chunk, then a cut": Good([delta(content="Hi."), delta(finish="stop")], "Hi.", ending="cut"),
    "a finish with content, then a cut": Good(
        [delta(content="Hi."), delta(finish="stop", content=" You.")], "Hi. You.", ending="cut"
    ),
    "a finish with content, then [DONE]": Good([delta(finish="stop", content="Hi."), DONE], "Hi."),
    "a finish in every chunk": Good(
        [
            delta(finish="stop", content="Hi"),
            delta(finish="stop", content=" you"),
            delta(finish="stop", content="."),
            DONE,
        ],
        "Hi you.",
    ),
    "a finish in every chunk, a body that ends": Good(
        [delta(finish="stop", content="Hi"), delta(finish="stop", content=" you.")], "Hi you."
    ),
    "text behind a finish in an empty chunk": Good(
        [delta(content="Hi"), delta(finish="stop"), delta(content=" you."), DONE], "Hi you."
    ),
    "a finish in each of 15 calls' chunks": Good(
        [*(call(number, "tool_calls") for number in range(15)), USAGE, DONE], "", _FIFTEEN, "tool_calls", 7
    ),
    "a finish in each of 15 calls' chunks, all with index 0": Good(
        [*(_at_zero(number) for number in range(15)), DONE],
        "",
        _FIFTEEN,
        "tool_calls",
    ),
    "usage, then text": Good(
        [delta(finish="stop", content="Hi"), USAGE, delta(content=" you."), DONE], "Hi you.", (), "stop", 7
    ),
    "late usage": Good([delta(content="Hi."), delta(finish="stop"), ": waiting", USAGE, DONE], "Hi.", (), "stop", 7),
    "late choices": Good(
        [delta(content="Hi."), delta(finish="stop"), delta(1, content="Ho."), delta(1, "stop"), DONE],
        "Hi.",
        params={"n": 2},
    ),
    "no finish and all tokens used": Good(
        [delta(content="Hi you"), USAGE, DONE], "Hi you", (), "length", 7, params={"max_tokens": 4}
    ),
    "a comment as data": Good([": OPENROUTER PROCESSING", delta(content="Hi."), delta(finish="stop"), DONE], "Hi."),
    # Finish reasons
    **{
        f"finish {finish}": Good([delta(content="Hi there"), delta(finish=finish), DONE], "Hi there")
        for finish in ("eos", "eos_token", "end_turn", "COMPLETE", "STOP", "stop_sequence", "completed")
    },
    **{
        f"finish {finish}": Good([delta(content="Hi there"), delta(finish=finish), DONE], "Hi there", (), "length")
        for finish in ("max_tokens", "MAX_TOKENS", "model_length", "model_context_window_exceeded")
    },
    "finish tool_use": Good([call(0), delta(finish="tool_use"), DONE], "", _FIFTEEN[:1], "tool_calls"),
    "an unknown finish and a whole text": Good(
        [delta(content="It is whole."), delta(finish="ran_dry"), DONE], "It is whole.", (), "ran_dry"
    ),
    # Tool calls
    "a name in two parts": Good(
        [
            delta(tool_calls=[part(0, "a", "look", None)]),
            delta(tool_calls=[part(0, None, "_up", '{"n": 0}')]),
            delta(finish="tool_calls"),
        ],
        "",
        _FIFTEEN[:1],
        "tool_calls",
    ),
    "arguments as an object": Good([call(0, arguments={"n": 0}), delta(finish="stop")], "", _FIFTEEN[:1]),
    'arguments "null"': Good([call(0, arguments="null"), delta(finish="stop")], "", [("look_up", {})]),
    "arguments null": Good([call(0, arguments=None), delta(finish="stop")], "", [("look_up", {})]),
    "malformed calls beside text": Good(
        [delta(content="Hi.", tool_calls=[{"function": None}, {}, 5, None]), delta(finish="stop")], "Hi."
    ),
    "malformed calls beside a good one": Good(
        [call(0), delta(tool_calls=[{"function": None, "index": []}]), delta(finish="tool_calls")],
        "",
        _FIFTEEN[:1],
        "tool_calls",
    ),
    "logprobs that are a number": Good(
        [{"choices": [{**delta(content="Hi.")["choices"][0], "logprobs": -0.5}]}, delta(finish="stop")], "Hi."
    ),
    "usage null": Good([delta(content="Hi."), delta(finish="stop"), {"choices": [], "usage": None}, DONE], "Hi."),
}

BAD: Mapping[str, Bad] = {
    # The end
    "a cut behind a contradicted finish": Bad(
        [delta(finish="stop", content="Hi"), delta(finish="stop", content=" you")], ending="cut"
    ),
    "a cut behind text behind an empty finish": Bad(
        [delta(content="Hi"), delta(finish="stop"), delta(content=" you")], ending="cut"
    ),
    "a cut before the second choice": Bad([delta(content="Hi."), delta(finish="stop")], ending="cut", params={"n": 2}),
    "[DONE] without a finish": Bad([delta(content="Hi"), DONE], says="finish"),
    # Finish reasons
    **{
        f"finish {finish}": Bad([delta(content="Hi there"), delta(finish=finish), DONE], kind, "early")
        for finish, kind in (
            ("abort", K.UNAVAILABLE),
            ("network_error", K.UNAVAILABLE),
            ("ERROR", K.UNAVAILABLE),
            ("cancelled", K.UNAVAILABLE),
            ("timeout", K.TIMED_OUT),
            ("insufficient_system_resource", K.OVERLOADED),
            ("MALFORMED_FUNCTION_CALL", K.BAD_ANSWER),
            ("pause_turn", K.BAD_ANSWER),
            ("load", K.BAD_ANSWER),
            ("upstream_disconnected", K.UNAVAILABLE),
        )
    },
    **{
        f"finish {finish}": Bad([delta(content="Hi there"), delta(finish=finish), DONE], K.CONTENT_POLICY)
        for finish in ("sensitive", "SAFETY", "RECITATION", "refusal", "guardrail_intervened", "ERROR_TOXIC")
    },
    "an unknown finish and half a text": Bad(
        [delta(content="It is half an answer, and"), delta(finish="ran_dry"), DONE], says="unfinished"
    ),
    "stop, natively MALFORMED_FUNCTION_CALL": Bad(
        [
            delta(content="Hi."),
            {"choices": [{**delta(finish="stop")["choices"][0], "native_finish_reason": "MALFORMED_FUNCTION_CALL"}]},
        ]
    ),
    "tool_calls without a call": Bad([delta(content="I look it up."), delta(finish="tool_calls")], says="holds none"),
    # What is empty
    "only white space": Bad([delta(content=" \n"), delta(content="\t"), delta(finish="stop")], says="empty"),
    "length with reasoning only": Bad([delta(reasoning="Hm"), delta(finish="length")], says="max_tokens"),
    "no finish, all tokens used for reasoning": Bad(
        [delta(reasoning="Hm"), USAGE, DONE], says="max_tokens", params={"max_tokens": 4}
    ),
    "empty calls and details": Bad(
        [delta(tool_calls=[{}], reasoning_details=[{}]), delta(finish="stop")], says="empty"
    ),
    # Tool calls
    "a name that changes behind its arguments": Bad(
        [
            delta(tool_calls=[part(0, "a", "look_up", '{"n": ')]),
            delta(tool_calls=[part(0, "a", "delete", "1}")]),
            delta(finish="tool_calls"),
        ]
    ),
    # Errors
    "an error without its key": Bad([{"code": 429, "message": "Slow down, rate limit reached"}], K.RATE_LIMITED),
    "a choice's error beside stop": Bad(
        [
            {
                "choices": [
                    {
                        **delta(finish="stop", content="Hi.")["choices"][0],
                        "error": {"code": 503, "message": "overloaded"},
                    }
                ]
            }
        ],
        K.OVERLOADED,
    ),
    # Bounds
    "nested too deeply": Bad(
        ['{"choices": [], "x": ' + "[" * 700 + "]" * 700 + "}", delta(content="Hi."), delta(finish="stop")]
    ),
}
