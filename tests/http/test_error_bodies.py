"""The body of an error status is bounded, in bytes and in time; deadlines hold, whatever else comes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable

import pytest

from openrouter_fallback import DeadlineExceededError, FallbackClient
from openrouter_fallback.call.attempt import MAX_ERROR_BYTES

from ..support.byteserver import Asked, ByteServer, Step, body, plain, reply

_HEAD = b"HTTP/1.1 503 Busy\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
_PIECE = b"a\r\n" + b" " * 10 + b"\r\n"
_LARGE = b"10000\r\n" + b" " * 65536 + b"\r\n"


def _endless() -> Iterable[Step]:
    """More than is read, then silence: so the test does not depend on who is faster."""
    yield _HEAD
    yield from itertools.repeat(_LARGE, MAX_ERROR_BYTES // 65536 + 1)


BODIES: dict[str, Callable[[], Iterable[Step]]] = {
    "none": lambda: [_HEAD],
    "half": lambda: [_HEAD + _PIECE],
    "endless": _endless,
}


def _served(faulty: Callable[[], Iterable[Step]]) -> Callable[[Asked], Iterable[Step]]:
    return lambda asked: faulty() if asked.body["model"] == "a/a" else [plain(body(asked.nonce))]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openrouter_fallback.decision.deadlines.ERROR_BODY_SECONDS", 0.05)


@pytest.mark.parametrize("case", list(BODIES))
@pytest.mark.parametrize("surface", ["chat", "stream"])
def test_an_error_body_without_an_end(case: str, surface: str) -> None:
    with (
        ByteServer(_served(BODIES[case])) as server,
        FallbackClient(["a/a", "a/b"], base_url=server.base_url, api_key="k-1-2-3-4") as client,
    ):
        if surface == "chat":
            completion = client.chat("one")
        else:
            with client.stream("one") as stream:
                assert "".join(piece.text for piece in stream) == reply("one")
            completion = stream.completion
        assert completion.text == reply("one")
        assert {(attempt.model, attempt.status) for attempt in completion.attempts[:-1]} == {("a/a", 503)}
        assert {attempt.kind for attempt in completion.attempts[:-1]} == {"overloaded"}
        assert [asked.number for asked in server.requests] == [0] * len(server.requests), "a new connection each"


async def test_a_caller_that_leaves_meanwhile_is_not_held() -> None:
    with ByteServer(lambda _: [_HEAD]) as server:
        client = FallbackClient(["a/a"], base_url=server.base_url, api_key="k-1-2-3-4")
        task = asyncio.create_task(client.achat("one"))
        while not server.requests:  # noqa: ASYNC110 - the server has a loop of its own
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await client.aclose()


async def test_events_without_a_token_do_not_hold_a_call_past_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that come all the time end the waiting themselves: they put off the watchdog, which looks for them."""
    monkeypatch.setattr("openrouter_fallback.call.watchdog.SECOND_LOOKS", 10**9)
    events = b"data: {}\n\n" * 6000
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n%b\r\n" % (len(events), events)
    with ByteServer(lambda _: [head, *itertools.repeat(chunk, 1000)]) as server:
        client = FallbackClient(["a/a"], base_url=server.base_url, api_key="k-1-2-3-4")
        with pytest.raises(DeadlineExceededError) as caught:
            await client.achat("one", total_timeout=0.1)
        assert [attempt.kind for attempt in caught.value.attempts] == ["timed_out"], "not one of too many events"
        await client.aclose()
