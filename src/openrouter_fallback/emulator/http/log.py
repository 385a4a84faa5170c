"""The request log: what came in, when its tokens went out, and how it ended."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_MASKED = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})


@dataclass(frozen=True, slots=True)
class Request:
    """One chat request as it stands now. Times are `time.monotonic()` seconds.

    `ended` is "open", "finished" (answered in full), "gone" (the client went away first) or "fault" (a fault, or a
    refusal of the request, was played to its end). `status` is None while, or if, no status line was sent. `served_by`
    is the model that was asked in the end (another one where the request's `models` named it) and `provider` its
    provider; `cost` is USD.
    """

    number: int
    model: str | None
    opened_at: float
    first_token_at: float | None
    finished_at: float | None
    ended: str
    tokens_sent: int
    status: int | None
    stream: bool
    body: dict[str, Any]
    headers: dict[str, str] = field(repr=False)
    fault: str | None
    served_by: str | None = None
    provider: str | None = None
    cost: float = 0.0
    generation_id: str | None = None


class Entry:
    """A request under way; written by the server's thread alone."""

    def __init__(
        self, log: RequestLog, number: int, model: str | None, body: dict[str, Any], headers: dict[str, str]
    ) -> None:
        self._log = log
        self.number = number
        self.model = model
        self.body = body
        self.headers = {key: "***" if key in _MASKED else value for key, value in headers.items()}
        self.opened_at = time.monotonic()
        self.first_token_at: float | None = None
        self.finished_at: float | None = None
        self.ended = "open"
        self.tokens_sent = 0
        self.status: int | None = None
        self.fault: str | None = None
        self.served_by: str | None = None
        self.provider: str | None = None
        self.cost = 0.0
        self.generation_id: str | None = None

    def begin(self, status: int) -> None:
        """The status line is on its way."""
        self.status = status
        self._log.changed()

    def tokens(self, count: int) -> None:
        """Tokens are on their way."""
        if self.first_token_at is None:
            self.first_token_at = time.monotonic()
        self.tokens_sent += count
        self._log.changed()

    def end(self, how: str) -> None:
        """The request is over; only the first call counts."""
        if self.finished_at is None:
            self.finished_at = time.monotonic()
            self.ended = how
            self._log.changed()

    def snapshot(self) -> Request:
        return Request(
            number=self.number,
            model=self.model,
            opened_at=self.opened_at,
            first_token_at=self.first_token_at,
            finished_at=self.finished_at,
            ended=self.ended,
            tokens_sent=self.tokens_sent,
            status=self.status,
            stream=bool(self.body.get("stream")),
            body=self.body,
            headers=self.headers,
            fault=self.fault,
            served_by=self.served_by,
            provider=self.provider,
            cost=self.cost,
            generation_id=self.generation_id,
        )


class RequestLog:
    """The entries since the last `clear`, all or the last `keep`; read from any thread."""

    def __init__(self, keep: int | None = None) -> None:
        self._condition = threading.Condition()
        self._entries: deque[Entry] = deque(maxlen=keep)
        self._forgotten: Counter[str | None] = Counter()
        self._number = 0
        self._watchers = 0

    def open(self, model: str | None, body: dict[str, Any], headers: dict[str, str]) -> Entry:
        with self._condition:
            self._number += 1
            entry = Entry(self, self._number, model, body, headers)
            if len(self._entries) == self._entries.maxlen:
                self._forgotten[self._entries[0].fault] += 1
            self._entries.append(entry)
            self._condition.notify_all()
        return entry

    def changed(self) -> None:
        """Wake whoever waits. A watcher registers before it looks, so that none misses a change."""
        if self._watchers:
            with self._condition:
                self._condition.notify_all()

    def snapshot(self) -> list[Request]:
        with self._condition:
            entries = list(self._entries)
        return [entry.snapshot() for entry in entries]

    def tally(self) -> Counter[str | None]:
        """How many requests met which fault, or None, those that are not kept included."""
        with self._condition:
            return self._forgotten + Counter(entry.fault for entry in self._entries)

    def clear(self) -> None:
        with self._condition:
            self._entries.clear()
            self._forgotten.clear()

    def wait_for(self, predicate: Callable[[list[Request]], object], timeout: float) -> list[Request]:
        """The log as soon as `predicate` holds for it; AssertionError with the log after `timeout` seconds."""
        with self._condition:
            self._watchers += 1
            try:
                met = self._condition.wait_for(lambda: predicate(self.snapshot()), timeout)
            finally:
                self._watchers -= 1
        found = self.snapshot()
        if not met:
            lines = "\n".join(f"  {request}" for request in found) or "  (no request)"
            raise AssertionError(f"the emulator's log did not come to what was waited for in {timeout} s:\n{lines}")
        return found
