"""The request log: each chat request, the times of its tokens, and how the request ended."""

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
    """A snapshot of one chat request. Times are `time.monotonic()` seconds.

    - `ended`: "open", "finished" (answered in full), "gone" (the client disconnected first) or "fault" (a fault, or
      a refusal of the request, was played to its end).
    - `status`: the HTTP status; None as long as no status line was sent.
    - `served_by`: the model that was called last. This is another model than `model` if the request's `models` named
      one and the first model failed.
    - `provider`: the provider of `served_by`.
    - `cost`: USD.
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
    """A request in progress. Only the server's thread writes an entry."""

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
        """Record that the status line is being sent."""
        self.status = status
        self._log.changed()

    def tokens(self, count: int) -> None:
        """Record that tokens are being sent."""
        if self.first_token_at is None:
            self.first_token_at = time.monotonic()
        self.tokens_sent += count
        self._log.changed()

    def end(self, how: str) -> None:
        """Record the end of the request. Only the first call of this method has an effect."""
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
    """The entries since the last `clear`: all, or the last `keep`. Any thread may read the log."""

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
        """Wake the waiting threads. A thread registers before it reads the log, so it misses no change."""
        if self._watchers:
            with self._condition:
                self._condition.notify_all()

    def snapshot(self) -> list[Request]:
        with self._condition:
            entries = list(self._entries)
        return [entry.snapshot() for entry in entries]

    def tally(self) -> Counter[str | None]:
        """The number of requests by fault (None: no fault), including requests that the log no longer keeps."""
        with self._condition:
            return self._forgotten + Counter(entry.fault for entry in self._entries)

    def clear(self) -> None:
        with self._condition:
            self._entries.clear()
            self._forgotten.clear()

    def wait_for(self, predicate: Callable[[list[Request]], object], timeout: float) -> list[Request]:
        """The log as soon as `predicate` is true of it. Raises AssertionError with the log after `timeout` seconds."""
        with self._condition:
            self._watchers += 1
            try:
                met = self._condition.wait_for(lambda: predicate(self.snapshot()), timeout)
            finally:
                self._watchers -= 1
        found = self.snapshot()
        if not met:
            lines = "\n".join(f"  {request}" for request in found) or "  (no request)"
            raise AssertionError(f"the condition on the emulator's log was not met in {timeout} s; the log:\n{lines}")
        return found
