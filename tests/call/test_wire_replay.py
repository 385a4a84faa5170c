"""Every recording of real traffic, sent again over a real socket in pieces of any size: nothing may be lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from openrouter_fallback import FailureKind, FallbackClient, RateLimitedError, Settings

from ..support.rawserver import RawServer, Reply, cut, reading
from ..support.surfaces import STREAMED, SURFACES, Outcome, ask

Json = dict[str, Any]

RECORDINGS = Path(__file__).parents[3] / "shared" / "openrouter" / "recordings"
pytestmark = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason="no recordings beside the repository (shared/openrouter)"
)

# The longest chunk of the body, and the longest read from the socket, in bytes: every border a border on either side.
SIZES = [(1, 4000), (90, 3), (4000, 700)]
_JOINED = {"reasoning.text": "text", "reasoning.summary": "summary"}


@dataclass(frozen=True)
class Recording:
    """One recorded request with its answer."""

    name: str
    request: Json
    response: Json

    @property
    def events(self) -> str | None:
        """The body as it was streamed; None where it came as JSON."""
        text: str | None = (self.response.get("body") or {}).get("string")
        return text

    @property
    def status(self) -> int:
        status: int = self.response["status"]["code"]
        return status

    @property
    def content(self) -> bytes:
        if self.events is not None:
            return self.events.encode()
        return json.dumps(self.response["parsed_body"], ensure_ascii=False).encode()

    @property
    def asked(self) -> Json:
        asked: Json = self.request["parsed_body"]
        return asked


def _recordings() -> Iterator[Recording]:
    for path in sorted(RECORDINGS.glob("*.yaml")):
        for number, one in enumerate(yaml.safe_load(path.read_text(encoding="utf-8"))["interactions"]):
            yield Recording(f"{path.stem}-{number}", one["request"], one["response"])


ALL = list(_recordings()) if RECORDINGS.is_dir() else []
USED_UP = [one for one in ALL if one.name == "stream_error-0"]
"""Its tokens went into the reasoning."""
STREAMS = [one for one in ALL if one.events is not None and one not in USED_UP]
BODIES = [one for one in ALL if one.events is None and one.status == 200]
ERRORS = [one for one in ALL if one.status != 200]


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with RawServer() as server:
        yield server


@pytest.fixture(scope="module")
def clients(server: RawServer) -> Iterator[dict[bool, FallbackClient]]:
    """A client that streams from the model, and one that does not."""
    clients = {
        streams: FallbackClient(
            ["some/model"],
            base_url=server.base_url,
            api_key="sk-or-v1-test",
            settings=Settings(stream_upstream=streams, max_retries_per_model=1),
        )
        for streams in (True, False)
    }
    yield clients
    for client in clients.values():
        client.close()


def replay(server: RawServer, client: FallbackClient, one: Recording, surface: str, sizes: tuple[int, int]) -> Outcome:
    """Ask what was asked, and answer what was answered."""
    client.reset()
    content_type = "application/json" if one.events is None else "text/event-stream"
    chunk, read = sizes
    server.answer(Reply(cut(one.content, chunk, seed=read), one.status, content_type))
    own = ("model", "messages", "stream", "stream_options")
    extra = {key: value for key, value in one.asked.items() if key not in own}
    with reading(read):
        return ask(client, surface, one.asked["messages"], models=[one.asked["model"]], extra_body=extra)


def chunks_of(events: str) -> list[Json]:
    """The chunks of a stream, read line by line with nothing clever."""
    data = [line.removeprefix("data: ") for line in events.split("\n") if line.startswith("data: ")]
    return [json.loads(text) for text in data if text != "[DONE]"]


def deltas_of(chunks: list[Json]) -> list[Json]:
    return [choice["delta"] for chunk in chunks for choice in chunk["choices"]]


def joined(deltas: list[Json], key: str) -> str:
    return "".join(delta.get(key) or "" for delta in deltas)


def listed(deltas: list[Json], key: str) -> list[Any]:
    return [item for delta in deltas for item in delta.get(key) or []]


def details_of(deltas: list[Json]) -> list[Json]:
    """The reasoning details put together: text parts of one kind and index in a row are one."""
    whole: list[Json] = []
    for part in listed(deltas, "reasoning_details"):
        text = _JOINED.get(part["type"])
        if whole and text and (whole[-1]["type"], whole[-1].get("index")) == (part["type"], part.get("index")):
            last = whole[-1]
            known = {key: value for key, value in part.items() if value is not None and key != text}
            whole[-1] = {**last, **known, text: (last.get(text) or "") + (part.get(text) or "")}
        else:
            whole.append(dict(part))
    return whole


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("one", STREAMS, ids=lambda one: one.name)
def test_a_recorded_stream(
    server: RawServer, clients: dict[bool, FallbackClient], one: Recording, surface: str, sizes: tuple[int, int]
) -> None:
    outcome = replay(server, clients[True], one, surface, sizes)
    answer = outcome.answer
    chunks = chunks_of(one.events or "")
    deltas = deltas_of(chunks)

    assert server.requests[-1].body == one.asked
    assert answer.text == joined(deltas, "content")
    assert answer.reasoning == joined(deltas, "reasoning")
    assert answer.message.get("reasoning_details", []) == details_of(deltas)
    assert answer.message.get("annotations", []) == listed(deltas, "annotations")
    assert answer.tool_calls == ()
    finishes = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    assert answer.finish_reason == next(filter(None, finishes))
    assert {key: answer.raw[key] for key in ("id", "model", "provider")} == {
        key: chunks[0][key] for key in ("id", "model", "provider")
    }
    (usage,) = [chunk["usage"] for chunk in chunks if "usage" in chunk]
    assert answer.raw["usage"] == usage
    assert answer.usage is not None
    assert answer.usage.total_tokens == usage["total_tokens"] > 0
    assert answer.usage.reasoning_tokens == usage["completion_tokens_details"]["reasoning_tokens"]
    assert answer.cost == usage["cost"]
    assert [attempt.kind for attempt in answer.attempts] == [None]
    if surface in STREAMED:
        streamed = deltas_of([piece.raw for piece in outcome.pieces if piece.raw is not None])
        assert outcome.delivered == answer.text
        assert "".join(piece.reasoning for piece in outcome.pieces) == answer.reasoning
        for key in ("annotations", "reasoning_details"):
            assert listed(streamed, key) == listed(deltas, key)


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("one", USED_UP, ids=lambda one: one.name)
def test_a_recorded_stream_whose_tokens_were_used_up(
    server: RawServer, clients: dict[bool, FallbackClient], one: Recording, surface: str
) -> None:
    outcome = replay(server, clients[True], one, surface, SIZES[0])
    (attempt,) = outcome.raised.attempts
    assert attempt.kind is FailureKind.BAD_ANSWER
    assert "max_tokens" in attempt.message
    assert "reasoning effort" in attempt.message
    assert outcome.delivered == ""


@pytest.mark.parametrize("streams", [True, False], ids=["stream-asked", "json-asked"])
@pytest.mark.parametrize("sizes", SIZES[1:])
@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("one", BODIES, ids=lambda one: one.name)
def test_a_recorded_body(
    server: RawServer,
    clients: dict[bool, FallbackClient],
    one: Recording,
    surface: str,
    sizes: tuple[int, int],
    streams: bool,
) -> None:
    outcome = replay(server, clients[streams], one, surface, sizes)
    answer = outcome.answer
    expected = json.loads(one.content)
    (choice,) = expected["choices"]
    message = choice["message"]
    for call in message.get("tool_calls", []):
        # A recorded model leaves the key out for a call without arguments.
        call["function"].setdefault("arguments", "{}")

    if not streams and surface not in STREAMED:
        assert {**server.requests[-1].body, "stream": False} == one.asked
    assert answer.raw == expected
    assert answer.text == (message.get("content") or "")
    assert answer.reasoning == (message.get("reasoning") or "")
    assert answer.finish_reason == choice["finish_reason"]
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == expected["usage"]["prompt_tokens"]
    assert answer.cost == expected["usage"].get("cost")
    assert [{"name": call.name, "arguments": call.arguments_json} for call in answer.tool_calls] == [
        call["function"] for call in message.get("tool_calls", [])
    ]
    if surface in STREAMED:
        assert outcome.delivered == answer.text
        assert "".join(piece.reasoning for piece in outcome.pieces) == answer.reasoning
        assert tuple(call for piece in outcome.pieces for call in piece.tool_calls) == answer.tool_calls


@pytest.mark.parametrize("sizes", SIZES[1:])
@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("one", ERRORS, ids=lambda one: one.name)
def test_a_recorded_error(
    server: RawServer, clients: dict[bool, FallbackClient], one: Recording, surface: str, sizes: tuple[int, int]
) -> None:
    outcome = replay(server, clients[True], one, surface, sizes)
    assert type(outcome.raised) is RateLimitedError
    assert len(server.requests) == 1
    (attempt,) = outcome.raised.attempts
    assert (attempt.kind, attempt.status, attempt.provider) == (FailureKind.RATE_LIMITED, 429, "Google")
    assert "temporarily rate-limited upstream" in str(outcome.raised)
    assert attempt.generation_id == "gen-from-the-header"


def test_all_recordings_are_replayed() -> None:
    assert len(STREAMS) + len(USED_UP) + len(BODIES) + len(ERRORS) == len(ALL) > 10
