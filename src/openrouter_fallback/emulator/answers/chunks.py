"""The two forms of one answer: an unstreamed body, and the chunks of the same answer as a stream.

`split` is a pure function from a body to chunks. A test can therefore stream any body in pieces of any size, and both
forms of an answer always agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

import orjson

Chunk = dict[str, Any]
Body = Mapping[str, Any]

COMMENT = b": OPENROUTER PROCESSING\n\n"
DONE = b"data: [DONE]\n\n"

_TOKEN = re.compile(r"\s*\S{1,12}|\s+")
_TEXT_FIELDS = {"reasoning.text": "text", "reasoning.summary": "summary"}


def pieces(text: str, rng: Random | None = None) -> list[str]:
    """Cut a text into tokens of about one word each.

    With `rng` a token is a run of 1 to 9 code points, and words are cut too.
    """
    if rng is None:
        return _TOKEN.findall(text)
    found = []
    start = 0
    while start < len(text):
        end = start + rng.choice((1, 1, 2, 3, 5, 9))
        found.append(text[start:end])
        start = end
    return found


def event(chunk: Mapping[str, Any]) -> bytes:
    """One chunk as a server-sent event."""
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def tokens_in(chunk: Mapping[str, Any]) -> int:
    """1 if a chunk carries generated output (content, reasoning, refusal, arguments, an image, audio), else 0."""
    for choice in chunk.get("choices") or ():
        delta = choice["delta"]
        if delta.get("content") or any(delta.get(key) for key in _GENERATED):
            return 1
        if any(call["function"].get("arguments") for call in delta.get("tool_calls") or ()):
            return 1
    return 0


_GENERATED = ("reasoning", "refusal", "images", "audio")


def head(body: Body) -> Chunk:
    """The fields that every chunk of an answer repeats."""
    shared = {key: body[key] for key in ("id", "created", "model", "provider", "service_tier") if key in body}
    return {"id": shared.pop("id", None), "object": "chat.completion.chunk", **shared}


def split(body: Body, rng: Random | None = None) -> list[Chunk]:
    """The chunks of an unstreamed body.

    The order is: role, reasoning, content, refusal, tool calls, images, annotations, finish, usage. Without `rng` a
    piece is about one word, and several choices alternate. With `rng` the sizes of pieces and the order of choices are
    random. A choice whose `finish_reason` is null has no finish chunk. A body without `usage` has no usage chunk.
    """
    shared = head(body)
    chunks = [{**shared, "choices": [choice]} for choice in _turns(body.get("choices") or (), rng)]
    if "usage" in body:
        last = {key: body[key] for key in ("openrouter_metadata",) if key in body}
        chunks.append({**shared, "choices": [], "usage": body["usage"], **last})
    return chunks


def _turns(choices: Sequence[Body], rng: Random | None) -> Iterator[dict[str, Any]]:
    queues = [list(_choice(choice, rng)) for choice in choices]
    if len(queues) == 1:
        yield from queues[0]
        return
    turn = 0
    while queues:
        turn = rng.randrange(len(queues)) if rng else turn % len(queues)
        yield queues[turn].pop(0)
        if queues[turn]:
            turn += 1
        else:
            del queues[turn]


def _choice(choice: Body, rng: Random | None) -> Iterator[dict[str, Any]]:
    message = choice["message"]
    index = choice.get("index", 0)
    logprobs = _Logprobs(choice.get("logprobs"))

    def chunk(delta: dict[str, Any], finish: str | None = None, native: str | None = None) -> dict[str, Any]:
        return {
            "index": index,
            "delta": {"role": "assistant", "content": "", **delta},
            "finish_reason": finish,
            "native_finish_reason": native,
            "logprobs": None,
        }

    yield chunk({})
    for delta in _reasoning(message, rng):
        yield chunk(delta)
    for text in pieces(message.get("content") or "", rng):
        yield {**chunk({"content": text}), "logprobs": logprobs.take(text)}
    for text in pieces(message.get("refusal") or "", rng):
        yield chunk({"refusal": text})
    for position, call in enumerate(message.get("tool_calls") or ()):
        for part in _tool_call(call, position, rng):
            yield chunk({"content": None, "tool_calls": [part]})
    for key in ("images", "audio"):
        if message.get(key):
            yield chunk({key: message[key]})
    for annotation in message.get("annotations") or ():
        yield chunk({"annotations": [annotation]})
    if choice.get("finish_reason") is not None:
        finish = chunk({}, choice["finish_reason"], choice.get("native_finish_reason"))
        if "error" in choice:
            finish["error"] = choice["error"]
        yield finish


def _reasoning(message: Body, rng: Random | None) -> Iterator[dict[str, Any]]:
    reasoning: str = message.get("reasoning") or ""
    details: Sequence[Body] = message.get("reasoning_details") or ()
    spoken = "".join(detail.get(_TEXT_FIELDS.get(detail["type"], ""), "") or "" for detail in details)
    in_step = spoken == reasoning
    if not in_step:
        for text in pieces(reasoning, rng):
            yield {"reasoning": text}
    for detail in details:
        field = _TEXT_FIELDS.get(detail["type"])
        if field is None or not in_step or not detail.get(field):
            yield {"reasoning": None, "reasoning_details": [dict(detail)]}
            continue
        rest = {key: value for key, value in detail.items() if key not in (field, "signature")}
        for text in pieces(detail.get(field) or "", rng):
            yield {"reasoning": text, "reasoning_details": [{**rest, field: text}]}
        if "signature" in detail:
            yield {"reasoning": None, "reasoning_details": [{**rest, "signature": detail["signature"]}]}


def _tool_call(call: Body, position: int, rng: Random | None) -> Iterator[dict[str, Any]]:
    index = call.get("index", position)
    function = call["function"]
    yield {
        "index": index,
        "id": call["id"],
        "type": "function",
        "function": {"name": function["name"], "arguments": ""},
    }
    for text in pieces(function["arguments"], rng):
        later: dict[str, Any] = {"index": index, "type": "function", "function": {"arguments": text}}
        if rng is not None and rng.random() < 0.3:
            # Some providers repeat the keys of the first delta as null.
            later["id"] = None
            later["function"]["name"] = None
        yield later


class _Logprobs:
    """Distributes the tokens of `logprobs.content` over pieces of text. A piece may end inside a token."""

    def __init__(self, logprobs: Body | None) -> None:
        self._tokens = list((logprobs or {}).get("content") or ())
        self._ahead = 0

    def take(self, text: str) -> dict[str, Any] | None:
        if not self._tokens and not self._ahead:
            return None
        self._ahead += len(text)
        dealt = []
        while self._tokens and self._ahead > 0:
            token = self._tokens.pop(0)
            self._ahead -= len(token["token"])
            dealt.append(token)
        return {"content": dealt, "refusal": None} if dealt else None
