"""The ledger: amounts that active requests hold, and amounts spent. Decimals in USD, never floats.

Before a request is sent, its highest possible cost is held. When the request ends, the actual cost replaces the held
amount. Held and spent amounts together never exceed a limit, also with concurrent calls. One exception: a request that
costs more than its held amount (more prompt tokens than estimated, another price than listed) exceeds the limit by the
difference. No I/O; the day is an argument.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from ..forks import renew_in_child

ZERO = Decimal(0)


DAY_SECONDS = 86_400
NANO = Decimal("0.000000001")


@dataclass(frozen=True, slots=True)
class Spend:
    """The spend of a client since midnight UTC, in USD. `estimated` is the part without a reported cost.

    `held` is the most that active requests may still cost, `others` the spend of the fleet's other processes. A limit
    is None if not set.
    """

    today: Decimal
    estimated: Decimal
    held: Decimal
    others: Decimal
    per_day: Decimal | None
    per_call: Decimal | None

    @property
    def left(self) -> Decimal | None:
        """The USD left of the day's limit; None without a limit."""
        return None if self.per_day is None else max(ZERO, self.per_day - self.today - self.held - self.others)


def today() -> int:
    """The number of the current day (UTC), counted from 1970."""
    return int(time.time() // DAY_SECONDS)


class Ledger:
    """The spent and held amounts of one client. Safe to use from several threads and event loops.

    `day` returns the number of the day from this machine's clock. In a fleet the store's time gives the day, and
    `clock` (seconds, monotonic) counts from there. A clock set back over midnight does not reset the day's spend.
    """

    def __init__(
        self,
        per_call: Decimal | None = None,
        per_day: Decimal | None = None,
        day: Callable[[], int] = today,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limited = per_call is not None or per_day is not None
        """Whether any limit is set."""
        self.per_call = per_call
        self.per_day = per_day
        self._today = day
        self._clock = clock
        self._ahead: float | None = None
        """The store's time minus `clock`, in seconds; None before the first sync."""
        # Re-entrant: the garbage collector may end a suspended call, which then settles in any thread.
        self._lock = threading.RLock()
        self._day = day()
        self._left_day: int | None = None
        """The day before a clock that went back by days; if the clock comes back to it, its amounts still hold."""
        self._forks = 0
        self._spent = self._estimated = self._held = ZERO
        self._theirs: dict[str, int] = {}
        """The nano-dollars that each other process of the fleet spent on this day."""
        self._others = ZERO
        renew_in_child(self)

    def call_budget(self) -> CallBudget:
        """The budget of one call."""
        return CallBudget(self)

    def spend(self) -> Spend:
        """A snapshot of the amounts and limits."""
        with self._lock:
            self._turn()
            return Spend(self._spent, self._estimated, self._held, self._others, self.per_day, self.per_call)

    def collect(self, now: float) -> tuple[int, int]:
        """The day at the store's time `now` (seconds since 1970), and the nano-dollars that this client spent on it."""
        with self._lock:
            first, self._ahead = self._ahead is None, now - self._clock()
            if first:
                self._day = self._number()  # the first sync corrects the day; no new day began
            self._turn()
            return self._day, int(self._spent / NANO)

    def apply(self, day: int, theirs: Mapping[str, int]) -> None:
        """Record the nano-dollars that each other process of the fleet spent on `day`.

        A missing or lower amount does not lower the known one: the store may have lost data.
        """
        with self._lock:
            self._turn()
            if day == self._day and theirs:
                known = self._theirs
                known.update({name: max(spent, known.get(name, 0)) for name, spent in theirs.items()})
                self._others = sum(known.values()) * NANO

    def after_fork(self) -> None:
        """Reset the amounts in a forked child. The parent keeps counting its own spend."""
        self._lock = threading.RLock()
        self._forks += 1
        self._spent = self._estimated = self._held = self._others = ZERO
        self._theirs = {}

    def _number(self) -> int:
        return self._today() if self._ahead is None else int((self._clock() + self._ahead) // DAY_SECONDS)

    def _turn(self) -> None:
        """Start a new day at midnight: spent amounts reset, held amounts stay. Call with the lock held."""
        day = self._number()
        if day == self._left_day:
            self._day, self._left_day = day, None
        elif day > self._day:
            self._spent = self._estimated = self._others = ZERO
            self._theirs = {}
            self._day = day
        elif day < self._day - 1:
            self._left_day, self._day = self._day, day  # the clock was days ahead, or is behind; spent amounts stay


@dataclass(slots=True)
class Booking:
    """The estimated cost booked for a request, until the endpoint reports the actual cost."""

    _ledger: Ledger = field(repr=False)
    _forks: int
    _day: int
    usd: Decimal

    def correct(self, usd: Decimal) -> None:
        """Replace the estimate by the actual cost. Call at most once. A booking of an earlier day stays unchanged."""
        ledger = self._ledger
        with ledger._lock:
            ledger._turn()
            if self._forks == ledger._forks and self._day == ledger._day:
                ledger._spent += usd - self.usd
                ledger._estimated -= self.usd


class CallBudget:
    """The budget of one call. Call `hold` before each request, `settle` after it, `close` at the end of the call."""

    __slots__ = ("_forks", "_held", "_ledger", "spent")

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._forks = ledger._forks
        self._held: dict[int, Decimal] = {}
        self.spent = ZERO

    def left(self) -> tuple[Decimal | None, Decimal | None]:
        """The USD left of this call's limit and of the day's limit; None without a limit."""
        ledger = self._ledger
        with ledger._lock:
            return self._left()

    def hold(self, number: int, most: Decimal) -> bool:
        """Hold `most` USD for request `number`. Returns False if a limit forbids it."""
        ledger = self._ledger
        with ledger._lock:
            if any(left is not None and most > left for left in self._left()):
                return False
            self._held[number] = most
            ledger._held += most
            return True

    def held(self, number: int) -> Decimal:
        """The USD held for request `number`."""
        return self._held.get(number, ZERO)

    def settle(self, number: int, paid: Decimal, *, estimated: bool = False) -> Booking:
        """Book the cost of a request and release its held amount."""
        ledger = self._ledger
        with ledger._lock:
            if self._forks != ledger._forks:
                return Booking(ledger, self._forks, ledger._day, ZERO)  # the parent's call, which ends in its child too
            ledger._turn()
            ledger._held -= self._held.pop(number, ZERO)
            ledger._spent += paid
            self.spent += paid
            if estimated:
                ledger._estimated += paid
            return Booking(ledger, self._forks, ledger._day, paid)

    def close(self, running: Collection[int] = ()) -> None:
        """End the call: release all held amounts, except those of requests that are still `running`."""
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
