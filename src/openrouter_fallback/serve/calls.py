"""One active call: sends the answer as it arrives, and ends when the client disconnects or the server stops."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson

from .. import Attempt, FallbackClient, FallbackError
from ..events import AttemptEnded, AttemptStarted, Event
from .bodies import ChatRequest, Gone, Message, Receive
from .chunks import Chunks, body
from .errors import CLOSE, Headers, Problem, Refused, error_object, problem
from .log import FailedCalls, Record

Send = Callable[[Message], Awaitable[None]]

logger = logging.getLogger("openrouter_fallback.serve")
_JSON = (b"content-type", b"application/json")
_EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
_SAFE = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_DRAINED = Problem(
    503,
    error_object("The server is stopping; send the request again.", "server_error", "draining", "provider_overloaded"),
    [(b"retry-after", b"1"), CLOSE],
)


class Reply:
    """The response to one request. `connection` is uvicorn's connection, which shows whether the client reads."""

    def __init__(self, send: Send, record: Record, connection: Any, write_seconds: float) -> None:
        self.begun = False
        self._send = send
        self._record = record
        self._connection = connection
        self._write_seconds = write_seconds

    async def whole(self, status: int, content: bytes, headers: Sequence[tuple[bytes, bytes]] = (_JSON,)) -> None:
        """Send a complete response."""
        await self.begin(status, [(b"content-length", b"%d" % len(content)), *headers])
        await self.write(content, more=False)

    async def refuse(self, found: Problem) -> None:
        """Send an error."""
        self._record.code = found.body["error"]["code"]
        await self.whole(found.status, orjson.dumps(found.body), [_JSON, *found.headers])

    async def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Send the status and the headers."""
        self.begun = True
        self._record.status = status
        identity = (b"x-request-id", self._record.id.encode())
        await self._send(
            {"type": "http.response.start", "status": status, "headers": [*headers, *_SAFE, identity]},
        )

    async def write(self, data: bytes, *, more: bool = True) -> None:
        """Send a part of the body. Waits while the client does not read; raises `Gone` after `write_seconds`."""
        message = {"type": "http.response.body", "body": data, "more_body": more}
        if self._connection is None or not self._connection.flow.write_paused:
            await self._send(message)
            return
        try:
            async with asyncio.timeout(self._write_seconds):
                await self._send(message)
        except TimeoutError:
            self._connection.transport.abort()
            raise Gone from None


class Call:
    """One call of the chain. `run` answers the request; `drain` ends it with an error."""

    def __init__(
        self, client: FallbackClient, asked: ChatRequest, reply: Reply, record: Record, failed: FailedCalls
    ) -> None:
        self._asked = asked
        self._failed = failed
        self._reply = reply
        self._record = record
        self._client = client.with_options(on_event=self._hear)
        self._chunks = Chunks(asked.wants_usage)
        self._begun = time.monotonic()
        self._model = ""
        self._task: asyncio.Task[Any] | None = None
        self._left = self._drained = self._over = False

    async def run(self, routing: Mapping[str, Any], receive: Receive) -> None:
        """Make the call, and send its answer or its error."""
        self._task = asyncio.current_task()
        watcher = asyncio.create_task(self._watch(receive))
        work = self._stream if self._asked.stream else self._answer
        try:
            await work(routing)
        except asyncio.CancelledError:
            if self._task is None or not (self._left or self._drained):
                raise
            self._task.uncancel()
            await self._broken(_DRAINED, "cancelled" if self._left else "drained")
        except Gone:
            self._record.outcome = "cancelled"
        except (FallbackError, Refused) as error:
            if isinstance(error, FallbackError):
                self._failed.tell(error)
            await self._broken(problem(error), "failed")
        except Exception as error:
            logger.exception("call %s failed", self._record.id)
            await self._broken(problem(error), "failed")
        finally:
            self._over = True
            watcher.cancel()

    def drain(self) -> None:
        """End the call with an error, because the server stops."""
        if self._task is not None and not self._over:
            self._drained = True
            self._task.cancel()

    async def _answer(self, routing: Mapping[str, Any]) -> None:
        completion = await self._client.achat(self._asked.messages, **routing, **self._asked.params)
        self._record.completion = completion
        self._record.outcome = "answered"
        self._over = True
        headers = [_JSON, *told(completion.attempts, completion.attempts[-1].model)]
        await self._reply.whole(200, body(completion), headers)

    async def _stream(self, routing: Mapping[str, Any]) -> None:
        chunks, write = self._chunks, self._reply.write
        async with self._client.astream(self._asked.messages, **routing, **self._asked.params) as stream:
            async for piece in stream:
                if not self._reply.begun:
                    await self._begin_stream()
                if event := chunks.piece(piece):
                    await write(event)
            completion = stream.completion
        if not self._reply.begun:
            await self._begin_stream()
        self._record.completion = completion
        self._record.outcome = "answered"
        self._over = True
        await write(chunks.end(completion), more=False)

    async def _begin_stream(self) -> None:
        self._record.first_token = time.monotonic() - self._begun
        headers = [_EVENTS, (b"x-accel-buffering", b"no"), *told(self._record.attempts, self._model)]
        await self._reply.begin(200, headers)

    async def _broken(self, found: Problem, outcome: str) -> None:
        self._record.outcome = outcome
        self._over = True
        if self._left:
            return
        if not self._reply.begun:
            attempts = told(self._record.attempts, "")
            await self._reply.refuse(Problem(found.status, found.body, [*found.headers, *attempts]))
        else:
            self._record.code = found.body["error"]["code"]
            await self._reply.write(self._chunks.error(found), more=False)

    async def _watch(self, receive: Receive) -> None:
        """Cancel the call when the client disconnects."""
        while (await receive())["type"] != "http.disconnect":
            pass
        if self._task is not None and not self._over:
            self._left = True
            self._task.cancel()

    def _hear(self, event: Event) -> None:
        if isinstance(event, AttemptStarted):
            self._model = event.model
        elif isinstance(event, AttemptEnded):
            self._record.attempts.append(event.attempt)


def told(attempts: Sequence[Attempt], model: str) -> Headers:
    """The response headers with the attempts so far and the answering model."""
    shown = [f"{a.model} {a.kind or 'answered'}{f' {a.status}' if a.kind and a.status else ''}" for a in attempts]
    headers: Headers = [(b"x-openrouter-fallback-attempts", _plain(", ".join(shown)))] if shown else []
    if model:
        headers.append((b"x-openrouter-fallback-model", _plain(model)))
    return headers


def _plain(text: str) -> bytes:
    return "".join(character if " " <= character <= "~" else "?" for character in text[:2000]).encode()
