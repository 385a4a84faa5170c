"""Chunks that differ only in their text are read together: with the same result as one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from openrouter_fallback.answer.decoder import AnswerDecoder, Ended
from openrouter_fallback.answer.repeats import texts_like

FINISH = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'


def payload(written: str, after: str = "") -> str:
    """A chunk's JSON; `written` stands between the quotes of its text."""
    return f'{{"id":"g","choices":[{{"index":0,"delta":{{"role":"assistant","content":"{written}"{after}}}}}]}}'


ROWS: dict[str, tuple[list[str], list[str]]] = {
    "plain": (["b", " c"], ["b", " c"]),
    "escapes": ([r"say \"b\"", r"\n", r"\u00e9", r"\\"], ['say "b"', "\n", "é", "\\"]),
    "not ASCII": (["é", "日本", "😀"], ["é", "日本", "😀"]),
    "an empty text ends the run": (["b", "", "c"], ["b"]),
    "another field in the text's place": ([r'b","refusal":"no'], []),
    "two values in the text's place": ([r'b","c'], []),
    "a text that runs into the next one": (["b\\", ',"c'], []),
    "a list in the text's place": (['b",["c', "d", 'e"],"f'], []),
    "a lone surrogate": (["b", r"\ud83d", r"\ude00"], []),
    "a control character": (["b", "\t"], []),
    "a text of many bytes ends the run": (["b", "c" * 500], ["b"]),
}


@pytest.mark.parametrize("name", ROWS)
def test_texts_of_chunks_that_are_else_alike(name: str) -> None:
    written, texts = ROWS[name]
    first = payload("a")
    following = [payload(one).encode() for one in written]
    assert texts_like(json.loads(first), first.encode(), following) == texts


def test_another_text_of_the_same_name_is_not_taken_for_the_answer() -> None:
    def event(first: str, second: str) -> str:
        return f'{{"x":{{"content":"{first}"}},"choices":[{{"index":0,"delta":{{"content":"{second}"}}}}]}}'

    assert texts_like(json.loads(event("a", "a")), event("a", "a").encode(), [event("b", "a").encode()]) == []


def decoded(payloads: list[str], *, together: bool) -> Any:
    decoder = AnswerDecoder({"content-type": "text/event-stream"}, deliver=False)
    events = [f"data: {one}\n\n".encode() for one in payloads]
    ends = [event for data in ([b"".join(events)] if together else events) for event in decoder.feed(data, 0.0)]
    ends += decoder.end(0.0)
    (end,) = (event for event in ends if isinstance(event, Ended))
    raw = None if end.completion is None else end.completion.raw
    return raw, end.failure and end.failure.kind, decoder.tokens, decoder.text


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("finish", [[FINISH, "[DONE]"], []])
def test_an_answer_is_the_same_read_together_and_one_by_one(name: str, finish: list[str]) -> None:
    payloads = [payload(one) for one in ("a", "a", *ROWS[name][0], "z", "z")]
    assert decoded([*payloads, *finish], together=True) == decoded([*payloads, *finish], together=False)
