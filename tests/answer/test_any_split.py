"""Any answer split into any chunks and any bytes, with finishes at any places: all of it arrives, or the attempt fails.

Several choices and calls, interleaved; usage anywhere; `[DONE]`, a body that ends properly, or a cut at any byte.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from openrouter_fallback.answer.decoder import AnswerDecoder, Ended, Event, Pieces
from openrouter_fallback.failures.kinds import Failure, FailureKind
from openrouter_fallback.results import text_of

from ..support.bodies import Json, delta, part
from ..support.rawserver import cut, sse
from .test_ends import USAGE

BROKEN = Failure(FailureKind.BAD_ANSWER, "cut")
FINISHES = ("stop", "tool_calls", "eos", "null", "")


@dataclass(frozen=True)
class Stream:
    """The chunks of an answer of `wanted` choices, how many of their bytes come, and how the body ends."""

    wanted: int
    chunks: list[Json | str]
    kept: float
    ending: str
    longest: int
    seed: int

    @property
    def data(self) -> bytes:
        whole = sse(*self.chunks)
        return whole[: round(len(whole) * self.kept)]

    def came(self) -> list[Json]:
        """The chunks whose events came whole."""
        left, found = len(self.data), []
        for chunk in self.chunks:
            left -= len(sse(chunk))
            if left < 0:
                break
            if isinstance(chunk, dict):
                found.append(chunk)
        return found

    def done(self) -> bool:
        return len(self.data) == len(sse(*self.chunks)) and "[DONE]" in self.chunks


def _split(text: str, random: Random) -> list[str]:
    pieces = []
    while text:
        size = random.randint(1, 9)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    wanted = draw(st.integers(1, 3))
    random = Random(draw(st.integers(0, 2**32)))
    often = draw(st.sampled_from([0.0, 0.0, 0.3, 1.0]))
    queues: list[list[Json]] = []
    for index in range(wanted):
        text = draw(st.text("ab .\n", max_size=20))
        pieces: list[dict[str, Any]] = [{"content": piece} for piece in _split(text, random)]
        for number in range(draw(st.integers(0, 3))):
            first, *rest = _split(f'{{"n": "{"x" * random.randint(0, 9)}"}}', random)
            pieces.append({"tool_calls": [part(number, f"id{number}", f"f{number}", first)]})
            pieces += [{"tool_calls": [part(number, None, None, piece)]} for piece in rest]
        queue = []
        for piece in pieces:
            finish = random.choice(FINISHES) if random.random() < often else None
            queue.append(delta(index, finish, **piece))
            if random.random() < often / 3:
                queue.append(delta(index, random.choice(FINISHES)))
        if draw(st.sampled_from([True, True, True, False])):
            queue.append(delta(index, "stop"))
        queues.append(queue)
    chunks: list[Json | str] = []
    while any(queues):
        chunks.append(random.choice([queue for queue in queues if queue]).pop(0))
        if random.random() < 0.1:
            chunks.append(USAGE if random.random() < 0.5 else ": keep-alive")
    ending = draw(st.sampled_from(["done", "proper", "cut"]))
    if ending == "done":
        chunks += [USAGE, "[DONE]"] if random.random() < 0.5 else ["[DONE]"]
    kept = draw(st.just(1.0) | st.floats(0, 1))
    return Stream(wanted, chunks, kept, ending, draw(st.sampled_from([1, 7, 60, 10_000])), draw(st.integers(0, 99)))


def play(stream: Stream) -> tuple[Ended, dict[int, str]]:
    """How the attempt ended, and the text of each choice that was delivered."""
    decoder = AnswerDecoder({"content-type": "text/event-stream"}, choices=stream.wanted)
    events: list[Event] = []
    for data in cut(stream.data, stream.longest, stream.seed):
        events += decoder.feed(data, 0.0)
        if events and isinstance(events[-1], Ended):
            break
    else:
        clean = stream.ending != "cut" and stream.kept == 1.0
        events += decoder.end(0.0) if clean else decoder.broken(BROKEN, 0.0)
    ended = events[-1]
    assert isinstance(ended, Ended)
    pieces = [piece for event in events if isinstance(event, Pieces) for piece in event.pieces]
    assert not any(piece.tool_calls for piece in pieces)
    if ended.completion is not None:
        pieces += decoder.last_pieces(ended.completion.raw)
    texts: dict[int, str] = defaultdict(str)
    for piece in pieces:
        texts[piece.index] += piece.text
    return ended, texts


@given(streams())
def test_all_arrives_or_the_attempt_fails(stream: Stream) -> None:
    ended, delivered = play(stream)
    came = stream.came()
    said: dict[int, str] = defaultdict(str)
    calls: dict[int, dict[int, list[str]]] = defaultdict(dict)
    finished: dict[int, bool] = {}
    behind = False
    for chunk in came:
        for choice in chunk["choices"]:
            index, fields = choice["index"], choice["delta"]
            token = bool(fields.get("content") or fields.get("tool_calls"))
            behind = behind or (token and finished.get(index, False))
            finished[index] = finished.get(index, False) or choice["finish_reason"] in ("stop", "tool_calls", "eos")
            said[index] += fields.get("content", "")
            for entry in fields.get("tool_calls", ()):
                name, arguments = entry["function"].get("name", ""), entry["function"].get("arguments", "")
                known = calls[index].setdefault(entry["index"], ["", ""])
                known[0], known[1] = known[0] + name, known[1] + arguments
    if ended.completion is None:
        assert all(said[index].startswith(text) for index, text in delivered.items())
        return
    choices = {choice["index"]: choice for choice in ended.completion.raw["choices"]}
    assert set(choices) == set(finished)
    for index, choice in choices.items():
        message = choice["message"]
        assert finished[index]
        assert text_of(message["content"]) == delivered[index] == said[index]
        found = [[call["function"]["name"], call["function"]["arguments"]] for call in message.get("tool_calls") or ()]
        assert found == list(calls[index].values())
    if not (stream.done() or (stream.ending == "proper" and stream.kept == 1.0)):
        assert not behind
        assert len(choices) >= stream.wanted


def test_the_strategy_reaches_answers_and_failures() -> None:
    """The property holds of something: both ends are met, with several choices and calls."""
    met = set()

    @settings(max_examples=400, derandomize=True, database=None)
    @given(streams())
    def meet(stream: Stream) -> None:
        ended, _ = play(stream)
        many = ended.completion is not None and len(ended.completion.raw["choices"]) > 1
        met.add((ended.completion is not None, many, stream.ending))

    meet()
    assert {(True, True, "done"), (True, True, "proper"), (True, True, "cut")} <= met
    assert {(False, False, "done"), (False, False, "proper"), (False, False, "cut")} <= met
