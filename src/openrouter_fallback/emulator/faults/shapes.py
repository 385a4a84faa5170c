"""Answers in unusual shapes that servers were seen to send. Most of them are good answers.

A shape of tool calls changes the healthy answer's own calls; an answer without calls is not changed. If a shape exists
only in streams, an unstreamed answer is the healthy answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import orjson

from ..answers import completion
from ..answers.chunks import DONE, Body, Chunk, event, head, split
from .errors import Details
from .kind import BARE, Kind, with_choice
from .plan import Plan, Scene, Send, Step, healthy, media_type, opening, sends, unstreamed, whole

_JSON = dict[str, Any]


def _good(scene: Scene, steps: Sequence[Step]) -> Plan:
    return Plan(steps, media_type=media_type(scene), ended="finished")


def _bad(scene: Scene, steps: Sequence[Step]) -> Plan:
    return Plan(steps, media_type=media_type(scene))


def _chunks(scene: Scene, change: Callable[[list[Chunk]], list[Chunk]], body: Body | None = None) -> Plan:
    """The healthy stream with its chunks changed by `change`; the healthy body if the answer is not streamed."""
    if not scene.stream:
        return healthy(scene)
    return _good(scene, [*opening(scene), *_sends(change(split(body or scene.body))), Send(DONE)])


def _sends(chunks: Sequence[Chunk]) -> list[Step]:
    """The steps that send these chunks. The chunks may be malformed."""
    steps: list[Step] = []
    for chunk in chunks:
        deltas = [choice["delta"] for choice in chunk.get("choices") or ()]
        odd = any(not isinstance(call.get("function"), dict) for d in deltas for call in d.get("tool_calls") or ())
        steps += [Send(event(chunk))] if odd else sends([chunk])
    return steps


def _own_calls(scene: Scene) -> list[_JSON]:
    return deepcopy(scene.body["choices"][0]["message"].get("tool_calls") or [])


def _with_calls(scene: Scene, calls: list[_JSON]) -> Plan:
    """The healthy answer with these tool calls; without calls, the healthy answer."""
    if not calls:
        return healthy(scene)
    if not scene.stream:
        body = deepcopy(scene.body)
        body["choices"][0]["message"]["tool_calls"] = calls
        return _good(scene, unstreamed(scene, body))
    bare = with_choice(scene, {"tool_calls": []}, "tool_calls")
    *before, end, usage = split(bare)
    shared = head(scene.body)
    deltas = [{"content": None, "tool_calls": [{**call, "index": n}]} for n, call in enumerate(calls)]
    made = [{**shared, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    steps = [Send(event(chunk), 1) for chunk in made]
    return _good(scene, [*opening(scene), *sends(before), *steps, *sends([end, usage]), Send(DONE)])


def _finish_in_every_chunk(scene: Scene, details: Details) -> Plan:
    finish = scene.body["choices"][0]["finish_reason"]

    def change(chunks: list[Chunk]) -> list[Chunk]:
        for chunk in chunks:
            for choice in chunk["choices"]:
                choice["finish_reason"] = finish
        return chunks

    return _chunks(scene, change)


def _finish_in_each_call(scene: Scene, details: Details) -> Plan:
    if not _own_calls(scene) or not scene.stream:
        return healthy(scene)
    *before, _, usage = split(with_choice(scene, {"tool_calls": []}, "tool_calls"))
    shared = head(scene.body)
    made = [
        {
            **shared,
            "choices": [
                {
                    "index": 0,
                    "delta": {"role": "assistant", "content": None, "tool_calls": [{**call, "index": n}]},
                    "finish_reason": "tool_calls",
                    "native_finish_reason": "STOP",
                }
            ],
        }
        for n, call in enumerate(_own_calls(scene))
    ]
    return _good(scene, [*opening(scene), *sends([*before, *made, usage]), Send(DONE)])


def _finish_null(scene: Scene, details: Details) -> Plan:
    message = deepcopy(scene.body["choices"][0]["message"])
    if details["after_tokens"] is not None:
        completion.shorten(message, details["after_tokens"])
    body = with_choice(scene, message, None)
    limit = scene.request.get("max_completion_tokens") or scene.request.get("max_tokens")
    if limit:
        body["usage"] |= {"completion_tokens": limit, "total_tokens": body["usage"]["prompt_tokens"] + limit}
    return _bad(scene, whole(scene, body))


def _finish_abort(scene: Scene, details: Details) -> Plan:
    message = deepcopy(scene.body["choices"][0]["message"])
    completion.shorten(message, details["after_tokens"])
    body = with_choice(scene, message, details["finish"])
    body["choices"][0]["native_finish_reason"] = details["finish"]
    return _bad(scene, whole(scene, body))


def _malformed_function_call(scene: Scene, details: Details) -> Plan:
    body = with_choice(scene, BARE, "stop")
    body["choices"][0]["native_finish_reason"] = "MALFORMED_FUNCTION_CALL"
    return _bad(scene, whole(scene, body))


def _ends(message: Mapping[str, Any], finish: str, *, hidden: bool = False) -> Callable[[Scene, Details], Plan]:
    """An answer with this message and finish. `hidden`: usage counts reasoning tokens that the answer does not show."""

    def plan(scene: Scene, details: Details) -> Plan:
        body = with_choice(scene, {**BARE, **message}, finish)
        if hidden:
            used = scene.request.get("max_completion_tokens") or scene.request.get("max_tokens") or 64
            usage = body["usage"]
            usage |= {"completion_tokens": used, "total_tokens": usage["prompt_tokens"] + used}
            usage["completion_tokens_details"] |= {"reasoning_tokens": used}
        return _bad(scene, whole(scene, body))

    return plan


def _name_in_two_parts(scene: Scene, details: Details) -> Plan:
    def change(chunks: list[Chunk]) -> list[Chunk]:
        changed = []
        for chunk in chunks:
            call = _opening_call(chunk)
            changed.append(chunk)
            if call is not None:
                name = call["function"]["name"]
                middle = max(1, len(name) // 2)
                rest = deepcopy(chunk)
                rest["choices"][0]["delta"]["tool_calls"] = [
                    {"index": call["index"], "function": {"name": name[middle:], "arguments": ""}}
                ]
                call["function"]["name"] = name[:middle]
                changed.append(rest)
        return changed

    return _chunks(scene, change)


def _names_repeated(scene: Scene, details: Details) -> Plan:
    def change(chunks: list[Chunk]) -> list[Chunk]:
        name = ""
        for chunk in chunks:
            for choice in chunk["choices"]:
                for call in choice["delta"].get("tool_calls") or ():
                    name = call["function"].setdefault("name", name)
        return chunks

    return _chunks(scene, change)


def _name_grows(scene: Scene, details: Details) -> Plan:
    def change(chunks: list[Chunk]) -> list[Chunk]:
        changed = []
        for chunk in chunks:
            if (call := _opening_call(chunk)) is not None:
                half = deepcopy(chunk)
                name = call["function"]["name"]
                opening = {**call, "function": {"name": name[: max(1, len(name) // 2)], "arguments": ""}}
                half["choices"][0]["delta"]["tool_calls"] = [opening]
                changed.append(half)
            changed.append(chunk)
        return changed

    return _chunks(scene, change)


def _empty_arguments_first(scene: Scene, details: Details) -> Plan:
    def change(chunks: list[Chunk]) -> list[Chunk]:
        changed = []
        for chunk in chunks:
            call = _opening_call(chunk)
            changed.append(chunk)
            if call is not None:
                rest = deepcopy(chunk)
                arguments = call["function"].get("arguments") or ""
                rest["choices"][0]["delta"]["tool_calls"] = [
                    {"index": call["index"], "function": {"arguments": arguments}}
                ]
                call["function"]["arguments"] = "{}"
                changed += [rest] if arguments else []
        return changed

    return _chunks(scene, change)


def _arguments_repeated(scene: Scene, details: Details) -> Plan:
    calls = _own_calls(scene)
    if not scene.stream:
        for call in calls:
            call["function"]["arguments"] *= 2
        return _with_calls(scene, calls)

    def change(chunks: list[Chunk]) -> list[Chunk]:
        *before, end, usage = chunks
        again = deepcopy(end)
        again["choices"][0] |= {
            "delta": {
                "tool_calls": [
                    {"index": n, "id": call["id"], "function": {"arguments": call["function"]["arguments"]}}
                    for n, call in enumerate(calls)
                ]
            },
            "finish_reason": None,
        }
        return [*before, again, end, usage]

    return _chunks(scene, change) if calls else healthy(scene)


def _opening_call(chunk: Chunk) -> _JSON | None:
    for choice in chunk["choices"]:
        for call in choice["delta"].get("tool_calls") or ():
            if "name" in call["function"]:
                return call  # type: ignore[no-any-return]
    return None


def _null_arguments(scene: Scene, details: Details) -> Plan:
    calls = _own_calls(scene)
    for call in calls:
        call["function"]["arguments"] = details["value"]
    return _with_calls(scene, calls)


def _object_arguments(scene: Scene, details: Details) -> Plan:
    calls = _own_calls(scene)
    for call in calls:
        call["function"]["arguments"] = orjson.loads(call["function"]["arguments"])
    return _with_calls(scene, calls)


def _malformed_delta(scene: Scene, details: Details) -> Plan:
    broken: list[_JSON] = [{"index": 9, "function": None}]
    if not scene.stream:
        body = deepcopy(scene.body)
        message = body["choices"][0]["message"]
        message["tool_calls"] = [*message.get("tool_calls", ()), *broken]
        return _good(scene, unstreamed(scene, body))

    def change(chunks: list[Chunk]) -> list[Chunk]:
        odd = deepcopy(chunks[0])
        odd["choices"][0]["delta"]["tool_calls"] = broken
        return [chunks[0], odd, *chunks[1:]]

    return _chunks(scene, change)


def _logprobs_number(scene: Scene, details: Details) -> Plan:
    if not scene.stream:
        body = deepcopy(scene.body)
        body["choices"][0]["logprobs"] = -0.25
        return _good(scene, unstreamed(scene, body))

    def change(chunks: list[Chunk]) -> list[Chunk]:
        for chunk in chunks:
            for choice in chunk["choices"]:
                choice["logprobs"] = -0.25
        return chunks

    return _chunks(scene, change)


def _comment_as_data(scene: Scene, details: Details) -> Plan:
    if not scene.stream:
        return healthy(scene)
    return _good(scene, [Send(b"data: : OPENROUTER PROCESSING\n\n"), *whole(scene, scene.body)])


def _choice_error_beside_stop(scene: Scene, details: Details) -> Plan:
    message = deepcopy(scene.body["choices"][0]["message"])
    completion.shorten(message, details["after_tokens"])
    body = with_choice(scene, message, "stop")
    body["choices"][0]["error"] = {"code": details["code"], "message": details["message"]}
    return _bad(scene, whole(scene, body))


def _usage(change: Callable[[_JSON], Any]) -> Callable[[Scene, Details], Plan]:
    """The healthy answer with another `usage`."""

    def plan(scene: Scene, details: Details) -> Plan:
        return _good(scene, whole(scene, {**scene.body, "usage": change(deepcopy(scene.body["usage"]))}))

    return plan


def _byok(usage: _JSON) -> _JSON:
    details = {**usage["cost_details"], "upstream_inference_cost": usage["cost"]}
    return {**usage, "cost": 0, "is_byok": True, "cost_details": details}


def _absurd(usage: _JSON) -> _JSON:
    return {**usage, "prompt_tokens": -7, "completion_tokens": 1e300, "total_tokens": "many", "cost": -1e300}


def _other_names(usage: _JSON) -> _JSON:
    found = {"input_tokens": usage["prompt_tokens"], "output_tokens": usage["completion_tokens"]}
    return {**found, "total_tokens": usage["total_tokens"]}


_GEMINI = "recordings of Gemini through OpenRouter"
SHAPES: dict[str, Kind] = {
    "finish_in_every_chunk": Kind(
        "Every chunk has the `finish_reason`; all chunks belong to the answer.",
        _finish_in_every_chunk,
        source="litellm#2195, one-api#1477",
    ),
    "finish_in_each_call": Kind(
        "Each parallel call is one chunk, each with the finish `tool_calls`.",
        _finish_in_each_call,
        source=_GEMINI,
    ),
    "finish_null": Kind(
        "No finish at the end; `after_tokens` limits the tokens. If the request has `max_tokens`, usage says that all "
        "of them are used.",
        _finish_null,
        {"after_tokens": None},
        source="recordings of Grok",
    ),
    "finish_abort": Kind(
        "Half an answer with an unknown `finish`: `abort`, or any other (`network_error`, `sensitive`, `ERROR` ...).",
        _finish_abort,
        {"finish": "abort", "after_tokens": 5},
        source="vllm#57082, any-llm#1204, promptfoo#9905",
    ),
    "malformed_function_call": Kind(
        "An empty answer with `native_finish_reason: MALFORMED_FUNCTION_CALL` and the finish `stop`.",
        _malformed_function_call,
        source="langgraph#6574",
    ),
    "calls_without_call": Kind(
        "An empty answer with the finish `tool_calls`.", _ends({}, "tool_calls"), source="litellm#21744"
    ),
    "white_space_only": Kind("Only white space.", _ends({"content": " \n\n "}, "stop"), source="aider#5581"),
    "length_empty": Kind(
        "An empty answer with the finish `length`: hidden reasoning used the tokens.",
        _ends({}, "length", hidden=True),
        source="OmniRoute#3587",
    ),
    "name_in_two_parts": Kind("A function's name in two deltas.", _name_in_two_parts, source="continue#5849"),
    "names_repeated": Kind(
        "A function's name repeated in each delta of its call.", _names_repeated, source="hermes-agent#8259"
    ),
    "name_grows": Kind(
        "A function's name in two deltas, the second with the whole name.", _name_grows, source="cumulative streams"
    ),
    "empty_arguments_first": Kind(
        "The first delta of each call has the arguments `{}`; the real arguments follow.",
        _empty_arguments_first,
        source="litellm#4537, ogx#5462",
    ),
    "arguments_repeated": Kind(
        "The whole arguments of each call repeated after their parts.",
        _arguments_repeated,
        source="codex-lb#284, eliza#16973",
    ),
    "null_arguments": Kind(
        "Arguments are null, or with `value` the string `null`.",
        _null_arguments,
        {"value": None},
        {"value": (None, "null")},
        source="jcode#225, llama.cpp#20198",
    ),
    "object_arguments": Kind("Arguments are an object, not a string.", _object_arguments, source="TGI#2461"),
    "malformed_delta": Kind(
        "A call without a function (`{function: null}`) beside a good answer.",
        _malformed_delta,
        source="tests of langchain-openrouter",
    ),
    "logprobs_number": Kind("`logprobs` is a number.", _logprobs_number, source="recordings of Together"),
    "comment_as_data": Kind(
        "The keep-alive comment as data: `data: : OPENROUTER PROCESSING`.", _comment_as_data, source="llm-gateway#2053"
    ),
    "choice_error_beside_stop": Kind(
        "Some tokens, and an `error` in the choice whose finish is `stop`.",
        _choice_error_beside_stop,
        {"after_tokens": 5, "code": 502, "message": "Upstream error"},
        source="OpenRouter, errors",
    ),
    "usage_null": Kind("`usage` is null.", _usage(lambda usage: None), source="OpenAI-compatible servers"),
    "usage_absurd": Kind(
        "The figures of usage are negative, 1e300, or a word.", _usage(_absurd), source="byte-level faults"
    ),
    "usage_other_names": Kind(
        "Usage with other names: `input_tokens`, `output_tokens`, without a cost.",
        _usage(_other_names),
        source="the Responses API's words",
    ),
    "byok": Kind(
        "Paid by the account's own provider key: `cost: 0`, `is_byok`, the cost in `upstream_inference_cost`.",
        _usage(_byok),
        source="forgecode#1641, Roo-Code#5144",
    ),
}
"""Shapes of answers by their names."""
