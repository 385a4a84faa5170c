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


def whole_call(number: int) -> Json:
    """A whole tool call without an index."""
    return {
        "id": f"call_{number}",
        "type": "function",
        "function": {"name": "look_up", "arguments": f'{{"n": {number}}}'},
    }


def in_a_message(text: str, finish: str | None = None) -> Json:
    """A chunk with a `message` where others have a delta."""
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}]}


def call_without_id(number: int) -> Json:
    """A chunk with one whole tool call that has neither id nor index."""
    return delta(tool_calls=[{"function": {"name": "look_up", "arguments": f'{{"n": {number}}}'}}])


def other_call() -> Json:
    """Another whole tool call, without an index."""
    return {"id": "other", "type": "function", "function": {"name": "other", "arguments": "{}"}}


def tool(name: str) -> Json:
    """A tool of a request."""
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}


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

_NO_ARGUMENTS: tuple[Any, ...] = ("None", [], "[]", {}, "", " ")

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
    "a finish that is an object": Good(
        [delta(content="Hi."), {"choices": [{"index": 0, "delta": {}, "finish_reason": {"type": "stop"}}]}, DONE], "Hi."
    ),
    'a finish "null" until the end': Good(
        [delta(finish="null", content="Hi"), delta(finish="null", content=" you"), delta(finish="stop")], "Hi you"
    ),
    "a whole message in one event": Good(
        [{"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}]}],
        "Hi.",
    ),
    "a message that repeats what has come": Good(
        [
            delta(content="Hi."),
            {"choices": [{"index": 0, "delta": {}, "message": {"content": "Hi."}, "finish_reason": "stop"}]},
        ],
        "Hi.",
    ),
    "messages that grow": Good(
        [in_a_message("Hi"), in_a_message("Hi you"), in_a_message("Hi you.", "stop"), DONE], "Hi you."
    ),
    "messages that go on": Good([in_a_message("Hi"), in_a_message(" you"), in_a_message(".", "stop"), DONE], "Hi you."),
    "a message beside an empty delta": Good(
        [{"choices": [{**in_a_message("Hi.", "stop")["choices"][0], "delta": {"content": ""}}]}, DONE], "Hi."
    ),
    "a whole message beside each delta": Good(
        [
            {"choices": [{**in_a_message("Hi")["choices"][0], "delta": {"content": "Hi"}}]},
            {"choices": [{**in_a_message("Hi you.")["choices"][0], "delta": {"content": " you."}}]},
            {"choices": [{**in_a_message("Hi you.", "stop")["choices"][0], "delta": {"content": ""}}]},
        ],
        "Hi you.",
    ),
    "calls in a message behind the text": Good(
        [
            delta(content="I look."),
            {
                "choices": [
                    {
                        "index": 0,
                        "message": {"content": "I look.", "tool_calls": [whole_call(0)]},
                        "finish_reason": "stop",
                    }
                ]
            },
        ],
        "I look.",
        _FIFTEEN[:1],
    ),
    "calls in a message that repeats them": Good(
        [
            delta(tool_calls=[{"index": 0, **whole_call(0)}]),
            {"choices": [{"index": 0, "message": {"tool_calls": [whole_call(0)]}, "finish_reason": "tool_calls"}]},
        ],
        "",
        _FIFTEEN[:1],
        "tool_calls",
    ),
    "white space before a text": Good(
        [delta(content="\n"), delta(content=" \n"), delta(content="Hi."), delta(content="\n"), delta(finish="stop")],
        "\n \nHi.\n",
    ),
    "white space before a call": Good(
        [delta(content="\n\n"), call(0), delta(finish="tool_calls")], "\n\n", _FIFTEEN[:1], "tool_calls"
    ),
    # Tool calls
    "a call that is not in a list": Good(
        [delta(content="I look.", tool_calls=whole_call(0)), delta(finish="stop")], "I look.", _FIFTEEN[:1]
    ),
    **{
        f"arguments under {name}": Good(
            [
                delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "look_up", name: {"n": 0}}}]),
                delta(finish="tool_calls"),
            ],
            "",
            _FIFTEEN[:1],
            "tool_calls",
        )
        for name in ("parameters", "input", "args")
    },
    "two parts of one call in its first chunk": Good(
        [
            delta(tool_calls=[part(0, "a", "look_up", None), part(0, None, None, '{"n":')]),
            delta(tool_calls=[part(0, None, None, " 0}")]),
            delta(finish="tool_calls"),
        ],
        "",
        _FIFTEEN[:1],
        "tool_calls",
    ),
    "two equal calls of one chunk, all with index 0": Good(
        [delta(tool_calls=[part(0, None, "look_up", '{"n": 0}')] * 2), delta(finish="tool_calls")],
        "",
        _FIFTEEN[:1] * 2,
        "tool_calls",
    ),
    "the calls of one chunk repeated": Good(
        [*[delta(tool_calls=[whole_call(0), whole_call(1)])] * 2, delta(finish="tool_calls")],
        "",
        _FIFTEEN[:2],
        "tool_calls",
    ),
    "one id for all calls, no index": Good(
        [*(delta(tool_calls=[{**whole_call(n), "id": "same"}]) for n in range(2)), delta(finish="tool_calls")],
        "",
        _FIFTEEN[:2],
        "tool_calls",
    ),
    "an id that changes in each chunk": Good(
        [
            delta(tool_calls=[part(0, "a", "look_up", "")]),
            delta(tool_calls=[part(0, "b", None, '{"n":')]),
            delta(tool_calls=[part(0, "c", None, " 0}")]),
            delta(finish="tool_calls"),
        ],
        "",
        _FIFTEEN[:1],
        "tool_calls",
    ),
    "a name that grows": Good(
        [
            delta(tool_calls=[part(0, "a", "look", None)]),
            delta(tool_calls=[part(0, "a", "look_up", '{"n": 0}')]),
            delta(finish="tool_calls"),
        ],
        "",
        _FIFTEEN[:1],
        "tool_calls",
    ),
    "a name in two equal parts": Good(
        [
            delta(tool_calls=[part(0, "a", "do", None)]),
            delta(tool_calls=[part(0, None, "do", "{}")]),
            delta(finish="tool_calls"),
        ],
        "",
        [("dodo", {})],
        "tool_calls",
        params={"tools": [tool("dodo")]},
    ),
    "a name repeated, the arguments in parts": Good(
        [
            delta(tool_calls=[part(0, "a", "look_up", "")]),
            delta(tool_calls=[part(0, "a", "look_up", '{"n":')]),
            delta(tool_calls=[part(0, "a", "look_up", " 0}")]),
            delta(finish="tool_calls"),
        ],
        "",
        _FIFTEEN[:1],
        "tool_calls",
    ),
    "{} before the arguments": Good(
        [
            delta(tool_calls=[part(0, "a", "look_up", "{}")]),
            delta(tool_calls=[part(0, None, None, '{"n":')]),
            delta(tool_calls=[part(0, None, None, " 0}")]),
            delta(finish="tool_calls"),
        ],
        "",
        _FIFTEEN[:1],
        "tool_calls",
    ),
    "null before the arguments": Good(
        [
            delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "look_up", "arguments": None}}]),
            delta(tool_calls=[part(0, None, None, '{"n": 0}')]),
            delta(finish="tool_calls"),
        ],
        "",
        _FIFTEEN[:1],
        "tool_calls",
    ),
    "the arguments again behind their parts": Good(
        [
            delta(tool_calls=[part(0, "a", "look_up", '{"n":')]),
            delta(tool_calls=[part(0, None, None, " 0}")]),
            delta(tool_calls=[part(0, "a", None, '{"n": 0}')]),
            delta(finish="tool_calls"),
        ],
        "",
        _FIFTEEN[:1],
        "tool_calls",
    ),
    **{
        f"arguments {arguments!r}": Good(
            [call(0, arguments=arguments), delta(finish="tool_calls")], "", [("look_up", {})], "tool_calls"
        )
        for arguments in _NO_ARGUMENTS
    },
    "arguments encoded twice": Good(
        [call(0, arguments='"{\\"n\\": 0}"'), delta(finish="tool_calls")], "", _FIFTEEN[:1], "tool_calls"
    ),
    "an index that is a number and a text": Good(
        [
            delta(tool_calls=[part(0, "a", "look_up", '{"n":')]),
            delta(tool_calls=[{"index": "0", "function": {"arguments": " 0}"}}]),
            delta(finish="tool_calls"),
        ],
        "",
        _FIFTEEN[:1],
        "tool_calls",
    ),
    "calls without ids and indexes": Good(
        [call_without_id(0), call_without_id(1), delta(finish="tool_calls")], "", _FIFTEEN[:2], "tool_calls"
    ),
    "calls of one chunk without indexes": Good(
        [
            delta(tool_calls=[call(None)["choices"][0]["delta"]["tool_calls"][0], other_call()]),
            delta(finish="tool_calls"),
        ],
        "",
        [("look_up", {"n": 0}), ("other", {})],
        "tool_calls",
    ),
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
    **{
        f"usage with {figure}": Good(
            [
                delta(content="Hi."),
                f'{{"choices": [], "usage": {{"total_tokens": 7, "cost": {figure}}}}}',
                delta(finish="stop"),
            ],
            "Hi.",
            tokens=7,
        )
        for figure in ("Infinity", "-Infinity", "NaN", "-3", "1e999")
    },
    "logprobs with -Infinity": Good(
        [
            '{"choices": [{"index": 0, "delta": {"content": "Hi."}, "logprobs": {"content": [-Infinity]}}]}',
            delta(finish="stop"),
        ],
        "Hi.",
    ),
    "usage in Groq's place": Good(
        [
            delta(content="Hi."),
            {**delta(finish="stop"), "x_groq": {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}},
        ],
        "Hi.",
        tokens=7,
    ),
    "usage in Moonshot's place": Good(
        [
            delta(content="Hi."),
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": {"total_tokens": 7}}]},
        ],
        "Hi.",
        tokens=7,
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
    "[DONE] behind half a text": Bad([delta(content="Hi there, I"), DONE], says="finish"),
    "[DONE] behind a call": Bad([delta(content="Hi."), call(0), DONE], says="finish"),
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
            ("not_finished", K.BAD_ANSWER),
            ("system_busy", K.OVERLOADED),
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
    'a finish "null", then a cut': Bad([delta(finish="null", content="Hi there.")], ending="cut"),
    "white space and reasoning": Bad(
        [delta(reasoning="Hm"), delta(content="\n\n"), delta(reasoning=" so"), delta(finish="stop")], says="empty"
    ),
    "white space, then a cut": Bad([delta(content="\n\n")], ending="cut"),
    "white space, then an error": Bad([delta(content="\n"), {"error": {"code": 503, "message": "full"}}], K.OVERLOADED),
    # Tool calls
    "{} in a call, then one of the same name": Bad(
        [
            delta(tool_calls=[part(0, None, "look_up", "{}")]),
            delta(tool_calls=[part(0, None, "look_up", '{"n": 0}')]),
            delta(finish="tool_calls"),
        ]
    ),
    "two objects as arguments": Bad(
        [
            delta(tool_calls=[part(0, "a", "look_up", '{"n": 0}')]),
            delta(tool_calls=[part(0, None, None, '{"n": 1}')]),
            delta(finish="tool_calls"),
        ]
    ),
    "arguments that are no object": Bad([call(0, arguments="[1]"), delta(finish="tool_calls")]),
    "a call without a name": Bad([call(0, name=""), delta(finish="tool_calls")]),
    "a name that changes behind its arguments": Bad(
        [
            delta(tool_calls=[part(0, "a", "look_up", '{"n": ')]),
            delta(tool_calls=[part(0, "a", "delete", "1}")]),
            delta(finish="tool_calls"),
        ]
    ),
    "{} in a call with an id, then one of the same name": Bad(
        [
            delta(tool_calls=[{**whole_call(0), "function": {"name": "look_up", "arguments": "{}"}}]),
            delta(tool_calls=[whole_call(0)]),
            delta(finish="tool_calls"),
        ]
    ),
    "calls that are a text": Bad([delta(content="I look.", tool_calls='[{"id": "a"}]'), delta(finish="stop")]),
    "more calls in the message than in its deltas": Bad(
        [
            delta(tool_calls=[{"index": 0, **whole_call(0)}]),
            {
                "choices": [
                    {"index": 0, "message": {"tool_calls": [whole_call(0), whole_call(1)]}, "finish_reason": "stop"}
                ]
            },
        ]
    ),
    "messages that grow, then one that does not": Bad(
        [in_a_message("Hi"), in_a_message("Hi you"), in_a_message(" there.", "stop"), DONE]
    ),
    "a filter's finish without a delta": Bad(
        [{"choices": [{"index": 0, "finish_reason": "content_filter: SAFETY"}]}, DONE], K.CONTENT_POLICY
    ),
    # Errors
    **{
        f"an error under {place}": Bad([{place: {"error": {"code": 429, "message": "slow down"}}}], K.RATE_LIMITED)
        for place in ("response", "data", "result", "body", "output")
    },
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


UNSURE: Mapping[str, Bad] = {
    "[DONE] without a finish": Bad([delta(content="Hi"), delta(content=" there."), DONE], says="finish"),
    'a finish "null", then [DONE]': Bad([delta(content="Hi there."), delta(finish="null"), DONE], says="finish"),
    "one event": Bad([delta(content="Hi there."), delta(content=""), USAGE, DONE], says="finish"),
}
"""Answers of `Hi there.` that lack only their finish. They are delivered if no model has a better one."""
