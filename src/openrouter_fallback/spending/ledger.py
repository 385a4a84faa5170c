"""Money: what a request may cost, what calls under way hold, and what was spent. Decimals in USD, never floats.

Before a request goes out, the most that it can cost is held; afterwards what it did cost takes that place. What is
held and spent together never exceeds a limit, whatever runs at the same time: only where a request costs more than was
held for it (more prompt tokens than estimated, another price than listed) does the limit give way by that much.
No I/O; the day is an argument.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

ZERO = Decimal(0)


DAY_SECONDS = 86_400
MOST_USD = 1_000_000
"""What is said to have cost more has not."""
NANO = Decimal("0.000000001")


@dataclass(frozen=True, slots=True)
class Spend:
    """What a client has spent since midnight UTC, in USD, `estimated` of it where nobody reported a cost.

    `held` is what requests under way may still cost, `others` what the other processes of a fleet have spent; limits
    are None where none is set.
    """

    today: Decimal
    estimated: Decimal
    held: Decimal
    others: Decimal
    per_day: Decimal | None
    per_call: Decimal | None

    @property
    def left(self) -> Decimal | None:
        """What the day has left; None without a limit."""
        return None if self.per_day is None else max(ZERO, self.per_day - self.today - self.held - self.others)


def today() -> int:
    """The number of the day, UTC."""
    return int(time.time() // DAY_SECONDS)


class Ledger:
    """What one client has spent and holds; shared by threads and loops.

    `day` numbers the days by this machine's clock. In a fleet the store's time says which day it is, and `clock`
    (seconds, monotonic) what has passed since. A day begins once: a clock that goes back over midnight zeroes nothing.
    """

    def __init__(
        self,
        per_call: Decimal | None = None,
        per_day: Decimal | None = None,
        day: Callable[[], int] = today,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limited = per_call is not None or per_day is not None
        """Whether there is any limit."""
        self.per_call = per_call
        self.per_day = per_day
        self._today = day
        self._clock = clock
        self._ahead: float | None = None
        """The store's time minus `clock`, in seconds; None until it was heard."""
        # Re-entrant: a suspended call that is garbage-collected settles in whatever thread the collector runs.
        self._lock = threading.RLock()
        self._day = day()
        self._forks = 0
        self._spent = self._estimated = self._held = ZERO
        self._theirs: dict[str, int] = {}
        """Nano-dollars that each of the fleet's other processes has spent on this day."""
        self._others = ZERO
        _live.add(self)

    def purse(self) -> CallBudget:
        """The purse of one call."""
        return CallBudget(self)

    def spend(self) -> Spend:
        """A snapshot."""
        with self._lock:
            self._turn()
            return Spend(self._spent, self._estimated, self._held, self._others, self.per_day, self.per_call)

    def collect(self, now: float) -> tuple[int, int]:
        """The day at the store's time `now` (seconds since 1970), and the nano-dollars spent here in it."""
        with self._lock:
            first, self._ahead = self._ahead is None, now - self._clock()
            if first:
                self._day = self._number()  # not a new day: this machine's clock was wrong
            self._turn()
            return self._day, int(self._spent / NANO)

    def apply(self, day: int, theirs: Mapping[str, int]) -> None:
        """The nano-dollars that each of the fleet's other processes has spent on that day.

        A process that is not named has not spent less: the store may have lost what it was told.
        """
        with self._lock:
            self._turn()
            if day == self._day and theirs:
                known = self._theirs
                known.update({name: max(spent, known.get(name, 0)) for name, spent in theirs.items()})
                self._others = sum(known.values()) * NANO

    def after_fork(self) -> None:
        """In a forked child: what the parent holds and has spent is the parent's."""
        self._lock = threading.RLock()
        self._forks += 1
        self._spent = self._estimated = self._held = self._others = ZERO
        self._theirs = {}

    def _number(self) -> int:
        return self._today() if self._ahead is None else int((self._clock() + self._ahead) // DAY_SECONDS)

    def _turn(self) -> None:
        """Inside the lock: at midnight the day begins with nothing but what is still held."""
        day = self._number()
        if day > self._day:
            self._spent = self._estimated = self._others = ZERO
            self._theirs = {}
            self._day = day
        elif day < self._day - 1:
            self._day = day  # the clock was days ahead, and what was spent stays spent


# A lock that another thread holds while the process forks stays locked in the child for ever.
_live: weakref.WeakSet[Ledger] = weakref.WeakSet()


def _after_fork() -> None:
    for ledger in _live:
        ledger.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@dataclass(frozen=True, slots=True)
class Booking:
    """What was booked for a request, an estimate, until its server tells what it has cost."""

    _ledger: Ledger = field(repr=False)
    _forks: int
    _day: int
    usd: Decimal

    def correct(self, usd: Decimal) -> None:
        """The request has cost so much: called once at most. What was booked yesterday stays as it is."""
        ledger = self._ledger
        with ledger._lock:
            ledger._turn()
            if self._forks == ledger._forks and self._day == ledger._day:
                ledger._spent += usd - self.usd
                ledger._estimated -= self.usd


class CallBudget:
    """What one call may spend. For each request: `hold` before it is sent, `settle` after it; `close` at the end."""

    __slots__ = ("_forks", "_held", "_ledger", "spent")

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._forks = ledger._forks
        self._held: dict[int, Decimal] = {}
        self.spent = ZERO

    def left(self) -> tuple[Decimal | None, Decimal | None]:
        """What this call, and what the day has left to spend; None: no limit."""
        ledger = self._ledger
        with ledger._lock:
            return self._left()

    def hold(self, number: int, most: Decimal) -> bool:
        """Put `most` aside for request `number`; whether the limits allow it."""
        ledger = self._ledger
        with ledger._lock:
            if any(left is not None and most > left for left in self._left()):
                return False
            self._held[number] = most
            ledger._held += most
            return True

    def held(self, number: int) -> Decimal:
        """What is put aside for request `number`."""
        return self._held.get(number, ZERO)

    def settle(self, number: int, paid: Decimal, *, estimated: bool = False) -> Booking:
        """The request has cost so much; what was held for it is free again."""
        ledger = self._ledger
        with ledger._lock:
            if self._forks != ledger._forks:
                return Booking(ledger, self._forks, ledger._day, ZERO)  # a call of the parent's, ended in its child too
            ledger._turn()
            ledger._held -= self._held.pop(number, ZERO)
            ledger._spent += paid
            self.spent += paid
            if estimated:
                ledger._estimated += paid
            return Booking(ledger, self._forks, ledger._day, paid)

    def close(self, running: Collection[int] = ()) -> None:
        """The call is over: what was held and never asked for is free again, but for requests that are `running`."""
        ledger = self._ledger
        with ledger._lock:
            for number in [number for number in self._held if number not in running]:
                held = self._held.pop(number)
                if self._forks == ledger._forks:
                    ledger._held -= held

    def _left(self) -> tuple[Decimal | None, Decimal | None]:
        ledger = self._ledger
        ledger._turn()
        held = sum(self._held.values(), ZERO)
        call = None if ledger.per_call is None else ledger.per_call - self.spent - held
        day = None if ledger.per_day is None else ledger.per_day - ledger._spent - ledger._held - ledger._others
        return call, day
