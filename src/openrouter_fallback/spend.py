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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

import orjson

from .catalog import ModelInfo
from .params import most_tokens
from .prices import cost

ZERO = Decimal(0)
BYTES_PER_TOKEN = 3
"""Text counts more tokens than most models see in it: English has four bytes and more, code and other scripts three."""
TOKENS_PER_MESSAGE = 8
TOKENS_PER_MEDIUM = 1500
"""An image, a file or a piece of audio in the prompt."""
LEAST_TOKENS = 64
"""An answer that may not be longer than less is not worth asking for."""
DAY_SHARE = 4
"""A request without a bound of its own holds at most this part (a quarter) of what the day has left."""
DAY_SECONDS = 86_400
MOST_USD = 1_000_000
"""What is said to have cost more has not."""
NANO = Decimal("0.000000001")
_MICRO = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Offer:
    """What a request may cost: `most` is to be held, in USD. `max_tokens` is to be sent; None: as the caller wants."""

    most: Decimal
    max_tokens: int | None = None


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


def prompt_tokens(messages: Iterable[Mapping[str, Any]], tools: object = None) -> int:
    """About how many tokens a prompt has; rather more than fewer."""
    total = _json_tokens(tools) if tools else 0
    for message in messages:
        total += TOKENS_PER_MESSAGE + _content_tokens(message.get("content"))
        if message.get("tool_calls"):
            total += _json_tokens(message["tool_calls"])
    return total


def _content_tokens(content: object) -> int:
    if isinstance(content, str):
        return _text_tokens(content.encode("utf-8", "replace"))
    total = 0
    for part in content if isinstance(content, list | tuple) else ():
        text = part.get("text") if isinstance(part, Mapping) else None
        total += _text_tokens(text.encode("utf-8", "replace")) if isinstance(text, str) else TOKENS_PER_MEDIUM
    return total


def _json_tokens(value: object) -> int:
    try:
        return _text_tokens(orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS))
    except (TypeError, RecursionError):
        return _text_tokens(repr(value).encode("utf-8", "replace"))  # whether it can be sent is told elsewhere


def _text_tokens(text: bytes) -> int:
    return -(-len(text) // BYTES_PER_TOKEN)


def offer(
    info: ModelInfo | None,
    prompt: int,
    wanted: int | None,
    choices: int,
    left: Decimal | None,
    day_left: Decimal | None,
) -> Offer | str:
    """What a request to the model may cost, or why it may not be sent.

    `wanted` is the caller's `max_tokens` for each of its `choices`, `left` what this call may still spend, `day_left`
    what the day has left (None: no limit).
    """
    if info is None or info.prompt_price is None or info.completion_price is None:
        return "its price is unknown, and a spend limit is set"
    head = cost(info, prompt, 0) or ZERO
    tail = info.completion_price * max(1, choices)
    bounds = [bound for bound in (left, day_left) if bound is not None]
    most = min(bounds) if bounds else None
    longest = wanted or _longest(info, prompt)
    if most is None or tail == ZERO:
        whole = head + tail * (longest or 0)
        return Offer(whole) if most is None or whole <= most else _too_dear(whole, most)
    if longest is not None and head + tail * longest <= (most if wanted else _fair(most, day_left)):
        return Offer(head + tail * longest)
    if wanted:
        return _too_dear(head + tail * wanted, most)
    for bound in (_fair(most, day_left), most):
        affordable = int(((bound - head) / tail).to_integral_value(ROUND_FLOOR))
        if affordable >= LEAST_TOKENS:
            return Offer(head + tail * affordable, affordable)
    return _too_dear(head + tail * LEAST_TOKENS, most)


def _longest(info: ModelInfo, prompt: int) -> int | None:
    """The longest answer that the model gives; None if that is unknown."""
    rest = None if info.context_length is None else max(1, info.context_length - prompt)
    known = [most for most in (info.max_output, rest) if most is not None]
    return min(known) if known else None


def _fair(most: Decimal, day_left: Decimal | None) -> Decimal:
    return most if day_left is None else min(most, day_left / DAY_SHARE)


def _too_dear(whole: Decimal, most: Decimal) -> str:
    return f"it may cost {dollars(whole)} USD, and {dollars(max(ZERO, most), ROUND_FLOOR)} USD are left to spend"


def dollars(amount: Decimal, rounding: str = ROUND_CEILING) -> str:
    """An amount for people, to the micro-dollar, without noughts at its end."""
    text = f"{amount.quantize(_MICRO, rounding):f}"
    return text.rstrip("0").rstrip(".")


def today() -> int:
    """The number of the day, UTC."""
    return int(time.time() // DAY_SECONDS)


class Ledger:
    """What one client has spent and holds; shared by threads and loops. `day` numbers the days."""

    def __init__(
        self, per_call: Decimal | None = None, per_day: Decimal | None = None, day: Callable[[], int] = today
    ) -> None:
        self.per_call = per_call
        self.per_day = per_day
        self._today = day
        # Re-entrant: a suspended call that is garbage-collected settles in whatever thread the collector runs.
        self._lock = threading.RLock()
        self._day = day()
        self._forks = 0
        self._spent = self._estimated = self._held = self._told = self._others = ZERO
        _live.add(self)

    def __bool__(self) -> bool:
        return self.per_call is not None or self.per_day is not None

    def purse(self) -> Purse:
        """The purse of one call."""
        return Purse(self)

    def spend(self) -> Spend:
        """A snapshot."""
        with self._lock:
            self._turn()
            return Spend(self._spent, self._estimated, self._held, self._others, self.per_day, self.per_call)

    def untold(self) -> tuple[int, int]:
        """The day, and the nano-dollars spent in it that the fleet does not know of yet."""
        with self._lock:
            self._turn()
            return self._day, int((self._spent - self._told) / NANO)

    def hear(self, day: int, told: int, total: int) -> None:
        """The fleet knows of `told` more, and has spent `total` nano-dollars on that day."""
        with self._lock:
            self._turn()
            if day == self._day:
                self._told += told * NANO
                self._others = max(ZERO, total * NANO - self._told)

    def after_fork(self) -> None:
        """In a forked child: what the parent holds and has spent is the parent's."""
        self._lock = threading.RLock()
        self._forks += 1
        self._spent = self._estimated = self._held = self._told = self._others = ZERO

    def _turn(self) -> None:
        """Inside the lock: at midnight the day begins with nothing but what is still held."""
        day = self._today()
        if day != self._day:
            self._day = day
            self._spent = self._estimated = self._told = self._others = ZERO


# A lock that another thread holds while the process forks stays locked in the child for ever.
_live: weakref.WeakSet[Ledger] = weakref.WeakSet()


def _after_fork() -> None:
    for ledger in _live:
        ledger.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Purse:
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

    def settle(self, number: int, paid: Decimal, *, estimated: bool = False) -> None:
        """The request has cost so much; what was held for it is free again."""
        ledger = self._ledger
        with ledger._lock:
            if self._forks != ledger._forks:
                return  # a call of the parent's, ended in its child too
            ledger._turn()
            ledger._held -= self._held.pop(number, ZERO)
            ledger._spent += paid
            self.spent += paid
            if estimated:
                ledger._estimated += paid

    def close(self) -> None:
        """The call is over: what was held and never asked for is free again."""
        ledger = self._ledger
        with ledger._lock:
            if self._forks == ledger._forks:
                ledger._held -= sum(self._held.values(), ZERO)
            self._held.clear()

    def _left(self) -> tuple[Decimal | None, Decimal | None]:
        ledger = self._ledger
        ledger._turn()
        held = sum(self._held.values(), ZERO)
        call = None if ledger.per_call is None else ledger.per_call - self.spent - held
        day = None if ledger.per_day is None else ledger.per_day - ledger._spent - ledger._held - ledger._others
        return call, day


class Costs:
    """What the requests of one call may cost; holds it before each of them."""

    def __init__(self, ledger: Ledger, messages: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> None:
        self.purse = ledger.purse()
        self.limited = bool(ledger)
        self._prompt = prompt_tokens(messages, params.get("tools")) if self.limited else 0
        self._params = params
        self.bounds: dict[int, int] = {}
        """`max_tokens` that are to be sent, by request."""

    def offer(
        self, info: ModelInfo | None, own: Mapping[str, Any], delivered: str = "", written: int = 0
    ) -> Offer | str:
        """What a request to the model (with its `own` parameters) may cost now, or why it may not be sent.

        `delivered` is the text that it goes on from, about `written` tokens of the answer.
        """
        wanted = most_tokens(self._params, own)
        if wanted and most_tokens(self._params, {}):
            wanted = max(1, wanted - written)  # as the request says
        choices = self._params.get("n", own.get("n"))
        prompt = self._prompt + _text_tokens(delivered.encode("utf-8", "replace"))
        return offer(info, prompt, wanted, choices if isinstance(choices, int) else 1, *self.purse.left())

    def hold(
        self, number: int, info: ModelInfo | None, own: Mapping[str, Any], delivered: str = "", written: int = 0
    ) -> str | None:
        """Put aside what request `number` may cost; why it may not be sent, or None."""
        if not self.limited:
            return None
        found = self.offer(info, own, delivered, written)
        if isinstance(found, str):
            return found
        if not self.purse.hold(number, found.most):
            return "other calls hold what is left to spend"
        if found.max_tokens is not None:
            self.bounds[number] = found.max_tokens
        return None
