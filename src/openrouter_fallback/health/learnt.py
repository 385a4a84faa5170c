"""Facts learnt about models and endpoints beyond their health: one store, each fact with an expiry.

Examples: a refused prefill, a missing feature, a parameter or form of history that an endpoint refuses. Each is tried
once, and again only when the fact expires, an answer shows the opposite, or the fact is forgotten.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ..forks import renew_in_child

MOST_FACTS: Final = 4096
_NOTHING: Final[frozenset[str]] = frozenset()


class Fact(StrEnum):
    """A kind of fact. `subject` names the feature or parameter, `value` the way or form."""

    CONTINUES = "continues"
    """How the model continues delivered text (`value`: `prefill`, `instruct`)."""
    LACKS = "lacks"
    """A feature that the model does not support (`subject`: `tools`, `image` ...)."""
    REFUSES = "refuses"
    """A parameter that the endpoint refuses (`subject`: its name)."""
    FORM = "form"
    """The form of history that the model accepts (`value`: `unsigned`, `told`, `single`, `strict` ...)."""
    REASONS = "reasons"
    """The model reasons although the request does not ask for reasoning."""
    UNFINISHED = "unfinished"
    """The last answers of the model had no finish reason (`value`: how many)."""


SECONDS: Final = {
    Fact.CONTINUES: None,
    Fact.LACKS: 600.0,
    Fact.REFUSES: 86_400.0,
    Fact.FORM: 86_400.0,
    Fact.REASONS: None,
    Fact.UNFINISHED: 600.0,
}
"""Seconds for which each kind of fact holds; None: until it is forgotten."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """One fact about `scope`, a model's key or an endpoint's name. `until`: a time of the clock, None for no end."""

    scope: str
    fact: Fact
    subject: str = ""
    value: str = ""
    until: float | None = None

    def __str__(self) -> str:
        return " ".join(part for part in (self.scope, str(self.fact), self.subject, self.value) if part)


class LearntFacts:
    """The facts of one client, at most 4,096; the oldest is dropped first. Safe to use from several threads.

    Times are seconds of any monotonic clock, given as `now`; without `now`, a fact is returned whatever its age.
    """

    def __init__(self) -> None:
        self._facts: dict[tuple[str, Fact, str], Learnt] = {}
        self._scopes: dict[str, int] = {}
        """The number of facts by scope. For most scopes there is none, which a look-up sees without the lock."""
        self._lock = threading.RLock()
        renew_in_child(self)

    def learn(
        self, scope: str, fact: Fact, now: float, *, subject: str = "", value: str = "", seconds: float | None = None
    ) -> None:
        """Remember a fact for `seconds`, by default for the time in `SECONDS`."""
        seconds = SECONDS[fact] if seconds is None else seconds
        key = scope, fact, subject
        with self._lock:
            self._remove(key)
            while len(self._facts) >= MOST_FACTS:
                self._remove(next(iter(self._facts)))
            self._facts[key] = Learnt(scope, fact, subject, value, None if seconds is None else now + seconds)
            self._scopes[scope] = self._scopes.get(scope, 0) + 1

    def get(self, scope: str, fact: Fact, now: float | None = None, subject: str = "") -> Learnt | None:
        """The fact, if it is known and has not expired, else None."""
        if scope not in self._scopes:
            return None
        with self._lock:
            known = self._facts.get((scope, fact, subject))
            if known is None or now is None or known.until is None or now < known.until:
                return known
            self._remove((scope, fact, subject))
            return None

    def value(self, scope: str, fact: Fact, now: float | None = None) -> str | None:
        """The value of a fact without a subject, if it is known and has not expired, else None."""
        known = self.get(scope, fact, now)
        return None if known is None else known.value

    def first(self, scope: str, fact: Fact, subjects: Iterable[str], now: float) -> Learnt | None:
        """The fact about the first of these subjects for which one is known, else None."""
        if scope not in self._scopes:
            return None
        return next((known for one in subjects if (known := self.get(scope, fact, now, one)) is not None), None)

    def subjects(self, scope: str, fact: Fact, now: float) -> frozenset[str]:
        """All subjects for which a fact of this kind is known."""
        if scope not in self._scopes:
            return _NOTHING
        return frozenset(known.subject for known in self.about((scope,), now) if known.fact is fact)

    def about(self, scopes: Iterable[str], now: float) -> tuple[Learnt, ...]:
        """All facts about these scopes that have not expired, for display."""
        wanted = set(scopes)
        with self._lock:
            facts = [known for known in self._facts.values() if known.scope in wanted]
        return tuple(known for known in facts if known.until is None or now < known.until)

    def unlearn(self, scope: str, fact: Fact, subjects: Iterable[str]) -> None:
        """Forget facts that an answer has shown to be wrong."""
        if scope in self._scopes:
            with self._lock:
                for subject in subjects:
                    self._remove((scope, fact, subject))

    def forget(self, scope: str, fact: Fact | None = None) -> None:
        """Forget all facts about one scope, or those of one kind."""
        with self._lock:
            for key in [key for key in self._facts if key[0] == scope and fact in (None, key[1])]:
                self._remove(key)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._facts.clear()
            self._scopes.clear()

    def after_fork(self) -> None:
        """In a forked child: another thread of the parent may have held the lock."""
        self._lock = threading.RLock()

    def _remove(self, key: tuple[str, Fact, str]) -> None:
        if self._facts.pop(key, None) is not None:
            left = self._scopes[key[0]] - 1
            if left:
                self._scopes[key[0]] = left
            else:
                del self._scopes[key[0]]
