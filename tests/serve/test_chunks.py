"""The chunks of a stream where a model's own chunks do not lead to OpenAI's by themselves."""

from __future__ import annotations

import json
from typing import Any

from openrouter_fallback import Completion, Piece, ToolCall
from openrouter_fallback.serve.chunks import Chunks


def chunk(events: bytes) -> dict[str, Any]:
    (line,) = events.split(b"\n\n")[:-1]
    found: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
    return found


def test_each_tool_call_has_its_index() -> None:
    """A body that came whole has none, and clients put calls together by it."""
    calls = [{"id": n, "type": "function", "function": {"name": "f", "arguments": "{}"}} for n in ("a", "b")]
    complete = tuple(ToolCall(call["id"], "f", {}, "{}", n) for n, call in enumerate(calls))  # type: ignore[arg-type]
    raw = {"model": "m", "choices": [{"index": 0, "delta": {"tool_calls": calls}, "finish_reason": "tool_calls"}]}
    choice = chunk(Chunks(False).piece(Piece(tool_calls=complete, raw=raw)))["choices"][0]
    assert [(call["index"], call["id"]) for call in choice["delta"]["tool_calls"]] == [(0, "a"), (1, "b")]
    assert choice["finish_reason"] is None


def test_a_finish_that_comes_with_text_waits_for_the_end() -> None:
    chunks = Chunks(False)
    raw = {"id": "gen-1", "model": "m", "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}]}
    assert chunk(chunks.piece(Piece("x", raw=raw)))["choices"][0]["finish_reason"] is None
    whole = {"model": "m", "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}
    end, done, rest = chunks.end(Completion(whole)).split(b"\n\n")
    assert json.loads(end.removeprefix(b"data: "))["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    assert (done, rest) == (b"data: [DONE]", b"")


def test_reasoning_that_is_void_is_told() -> None:
    raw = {"model": "m", "choices": [{"index": 0, "delta": {"reasoning": "anew"}}]}
    said = chunk(Chunks(False).piece(Piece(reasoning="anew", restarted=True, raw=raw)))
    assert said["openrouter_fallback"] == {"restarted": True}
    assert said["choices"][0]["delta"]["reasoning"] == "anew"


def test_a_piece_that_only_tells_of_seams_is_no_chunk() -> None:
    assert Chunks(False).piece(Piece()) == b""
