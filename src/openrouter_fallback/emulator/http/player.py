"""Sends the plan of one answer over one connection, and records the result in the log and on the account."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from random import Random
from typing import Any, NamedTuple

from ..faults.plan import SSE, Forever, HangUp, Plan, Send, Step, Wait
from .connection import Connection
from .log import Entry

Message = MutableMapping[str, Any]
SendMessage = Callable[[Message], Awaitable[None]]

_STEPS_BETWEEN_YIELDS = 16
_BLOCK = 32
_END: Message = {"type": "http.response.body", "body": b"", "more_body": False}


class Pace(NamedTuple):
    """The delays of a model's answers, in seconds. `jitter` is the share (0 to 1) by which each delay varies."""

    latency: float = 0.0
    token_interval: float = 0.0
    jitter: float = 0.0


class Delivered(NamedTuple):
    """The part of an answer that was sent to the client."""

    usage: Any
    finish: tuple[str | None, str | None]
    cancelled: bool


class Player:
    """Plays one plan."""

    def __init__(
        self,
        connection: Connection,
        send: SendMessage,
        entry: Entry,
        *,
        pace: Pace,
        dice: Random,
        coalesce: bool,
        stopping: Callable[[], bool],
        settle: Callable[[Delivered], None],
    ) -> None:
        """`settle` is called once, before the log reports that the request has ended."""
        self._connection = connection
        self._send = send
        self._entry = entry
        self._pace = pace
        self._dice = dice
        self._coalesce = coalesce
        self._stopping = stopping
        self._settle = settle
        self._interval = 0.0
        self._faulty = False
        self._usage: Any = None
        self._finish: tuple[str | None, str | None] = (None, None)

    async def play(self, plan: Plan, headers: dict[str, str]) -> None:
        connection = self._connection
        steps: Sequence[Step] = plan.steps
        streamed = plan.media_type == SSE
        self._interval = self._pace.token_interval if streamed else 0.0
        self._faulty = plan.ended == "fault"
        if streamed and self._coalesce and not self._interval:
            steps = _coalesced(steps)
        if not streamed and steps and isinstance(steps[0], Wait) and not steps[0].data:
            await self._wait(steps[0])
            steps = steps[1:]
        if plan.status is not None and not connection.gone:
            await self._start(plan, plan.status, headers)
        for count, step in enumerate(steps, 1):
            if connection.gone:
                break
            if not count % _STEPS_BETWEEN_YIELDS:
                # A stream without pauses would otherwise block all other streams.
                await asyncio.sleep(0)
            await _PLAY[type(step)](self, step)
        if connection.gone:
            if not self._stopping():
                self._ended("gone")
        elif not connection.hung_up:
            # Before the last byte: a client that has read the whole answer finds the request finished in the log.
            self._ended(plan.ended)
            await self._send(_END)

    def _ended(self, how: str) -> None:
        if self._entry.finished_at is None:
            self._settle(Delivered(self._usage, self._finish, cancelled=how == "gone"))
        self._entry.end(how)

    async def _start(self, plan: Plan, status: int, headers: dict[str, str]) -> None:
        self._entry.begin(status)
        given = {
            "content-type": plan.media_type,
            "cache-control": "no-cache" if plan.media_type == SSE else "no-store",
            **headers,
            **plan.headers,
        }
        encoded = [(key.lower().encode(), value.encode("latin-1")) for key, value in given.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": encoded})

    async def _write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _data(self, step: Send) -> None:
        # The interval between tokens also precedes a fault.
        if self._interval and self._entry.tokens_sent and (step.tokens or self._faulty):
            await self._connection.sleep(self._jittered(self._interval))
            if self._connection.gone:
                return
        if step.tokens:
            self._entry.tokens(step.tokens)
        self._usage = step.usage or self._usage
        self._finish = step.finish or self._finish
        await self._write(step.data)

    async def _wait(self, step: Wait) -> None:
        seconds = self._jittered(step.seconds)
        if not step.data:
            await self._connection.sleep(seconds)
            return
        end = time.monotonic() + seconds
        while not self._connection.gone and (left := end - time.monotonic()) > 0:
            await self._write(step.data)
            await self._connection.sleep(min(step.interval, left))

    async def _forever(self, step: Forever) -> None:
        while not self._connection.gone:
            if step.data:
                await self._write(step.data)
            await self._connection.sleep(step.interval)

    async def _hang_up(self, step: HangUp) -> None:
        self._ended("fault")
        self._connection.hang_up(step.reset)

    def _jittered(self, seconds: float) -> float:
        jitter = self._pace.jitter
        return seconds * (1 + self._dice.uniform(-jitter, jitter)) if jitter else seconds


_PLAY: dict[type, Callable[[Player, Any], Awaitable[None]]] = {
    Send: Player._data,
    Wait: Player._wait,
    Forever: Player._forever,
    HangUp: Player._hang_up,
}


def _coalesced(steps: Sequence[Step]) -> list[Step]:
    joined: list[Step] = []
    block: list[Send] = []

    def flush() -> None:
        if block:
            usage = next((send.usage for send in block if send.usage), None)
            finish = next((send.finish for send in block if send.finish), None)
            joined.append(Send(b"".join(s.data for s in block), sum(s.tokens for s in block), usage, finish))
            block.clear()

    for step in steps:
        if not isinstance(step, Send):
            flush()
            joined.append(step)
            continue
        block.append(step)
        if len(block) == _BLOCK:
            flush()
    flush()
    return joined
