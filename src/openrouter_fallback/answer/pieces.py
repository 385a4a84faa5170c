"""Turns chunks and bodies into pieces for the caller. The `raw` of a piece never holds an unfinished tool call."""

from __future__ import annotations

from ..results import Completion, Json, Piece, text_of

_CALLS = frozenset({"tool_calls", "function_call"})


def cut(chunk: Json, pieces: list[Piece]) -> None:
    """Append a chunk's pieces, one for each choice with content; tool calls are left for `calls_of`."""
    choices = chunk.get("choices") or ()
    for choice in choices:
        delta = choice.get("delta")
        if not delta:
            continue
        raw = chunk
        if not _CALLS.isdisjoint(delta):
            delta = {key: value for key, value in delta.items() if key not in _CALLS}
            raw = {**chunk, "choices": [{**choice, "delta": delta}]}
        elif len(choices) > 1:
            raw = {**chunk, "choices": [choice]}
        text, reasoning = delta.get("content") or "", delta.get("reasoning") or delta.get("reasoning_content") or ""
        if not isinstance(text, str):
            text = text_of(text)
        if not isinstance(reasoning, str):
            reasoning = text_of(reasoning)
        if text or reasoning or any(value for key, value in delta.items() if key != "role"):
            pieces.append(Piece(text, reasoning, (), choice.get("index") or 0, False, raw))


def pieces_of(body: Json) -> list[Piece]:
    """The pieces of one JSON body, one for each choice, without tool calls."""
    pieces = []
    for choice in body["choices"]:
        message = {key: value for key, value in choice["message"].items() if key not in _CALLS}
        chunk = {key: value for key, value in choice.items() if key != "message"}
        raw = {**body, "object": "chat.completion.chunk", "choices": [{**chunk, "delta": message}]}
        reasoning = text_of(message.get("reasoning") or message.get("reasoning_content"))
        pieces.append(Piece(text_of(message.get("content")), reasoning, (), choice.get("index") or 0, False, raw))
    return pieces


def calls_of(body: Json) -> list[Piece]:
    """The complete tool calls of a finished answer, one piece for each choice that has any."""
    pieces = []
    for choice in body["choices"]:
        complete = Completion({"choices": [choice]}).tool_calls
        if complete:
            delta = {"role": "assistant", "tool_calls": choice["message"]["tool_calls"]}
            index = choice.get("index") or 0
            raw = {**body, "object": "chat.completion.chunk"}
            raw["choices"] = [{"index": index, "delta": delta, "finish_reason": choice["finish_reason"]}]
            pieces.append(Piece(tool_calls=complete, index=index, raw=raw))
    return pieces


def reworded(chunk: Json, text: str) -> Json:
    """A copy of the chunk (or body) with another text."""
    first = (chunk.get("choices") or [{}])[0]
    choice = {key: value for key, value in first.items() if key not in ("message", "delta")}
    delta = {**(first.get("delta") or {"role": "assistant"}), "content": text}
    return {**chunk, "object": "chat.completion.chunk", "choices": [{**choice, "delta": delta}]}
