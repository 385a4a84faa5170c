"""Quotes: the highest possible cost of a request before it is sent. Decimals in USD, never floats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

import orjson

from ..catalog import prices
from ..catalog.listing import ModelInfo
from ..routes.needs import most_tokens
from .ledger import ZERO, Booking, Ledger

BYTES_PER_TOKEN = 3
"""A low figure, so that estimates are high: English has four bytes or more per token, code and other scripts three."""
TOKENS_PER_MESSAGE = 8
TOKENS_PER_MEDIUM = 1500
"""The tokens of an image, a file or a piece of audio in the prompt."""
TOKENS_PER_SECOND = 300
"""The completion tokens per second of a fast model."""
LEAST_TOKENS = 64
"""No request is sent if the budget allows fewer completion tokens."""
DAY_SHARE = 4
"""A request without `max_tokens` first gets at most this part (one quarter) of the USD left of the day's limit."""


_MICRO = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Quote:
    """The quote of a request: hold `most` USD, and send `max_tokens`; None keeps the caller's value."""

    most: Decimal
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Unaffordable:
    """A request must not be sent, with the reason. `priceless`: the model's price is unknown."""

    reason: str
    priceless: bool = False


def prompt_tokens(messages: Iterable[Mapping[str, Any]], tools: object = None) -> int:
    """The estimated tokens of a prompt, rather too high than too low."""
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
        return _text_tokens(repr(value).encode("utf-8", "replace"))  # the request's own check reports a bad value


def _text_tokens(text: bytes) -> int:
    return -(-len(text) // BYTES_PER_TOKEN)


def quote(
    info: ModelInfo | None,
    prompt: int,
    wanted: int | None,
    choices: int,
    left: Decimal | None,
    day_left: Decimal | None,
) -> Quote | Unaffordable:
    """The quote of a request to the model, or the reason why the request must not be sent.

    `wanted` is the caller's `max_tokens` for each of its `choices`. `left` and `day_left` are the USD left of the
    call's and the day's limit (None: no limit).
    """
    if info is None or info.prompt_price is None or info.completion_price is None:
        return Unaffordable("its price is unknown, and a spend limit is set", priceless=True)
    head = prices.cost(info, prompt, 0) or ZERO
    tail = info.completion_price * max(1, choices)
    bounds = [bound for bound in (left, day_left) if bound is not None]
    most = min(bounds) if bounds else None
    longest = wanted or _longest(info, prompt)
    if most is None or tail == ZERO:
        whole = head + tail * (longest or 0)
        return Quote(whole) if most is None or whole <= most else _too_dear(whole, most)
    if longest is not None and head + tail * longest <= (most if wanted else _fair(most, day_left)):
        return Quote(head + tail * longest)
    if wanted:
        return _too_dear(head + tail * wanted, most)
    for bound in (_fair(most, day_left), most):
        affordable = int(((bound - head) / tail).to_integral_value(ROUND_FLOOR))
        if affordable >= LEAST_TOKENS:
            return Quote(head + tail * affordable, affordable)
    return _too_dear(head + tail * LEAST_TOKENS, most)


def _longest(info: ModelInfo, prompt: int) -> int | None:
    """The tokens of the model's longest answer to this prompt; None if unknown."""
    rest = None if info.context_length is None else max(1, info.context_length - prompt)
    known = [most for most in (info.max_output, rest) if most is not None]
    return min(known) if known else None


def _fair(most: Decimal, day_left: Decimal | None) -> Decimal:
    return most if day_left is None else min(most, day_left / DAY_SHARE)


def _too_dear(whole: Decimal, most: Decimal) -> Unaffordable:
    left = dollars(max(ZERO, most), ROUND_FLOOR)
    return Unaffordable(f"it may cost {dollars(whole)} USD, and {left} USD are left to spend")


def dollars(amount: Decimal, rounding: str = ROUND_CEILING) -> str:
    """An amount in USD as text, to the micro-dollar, without trailing zeros."""
    text = f"{amount.quantize(_MICRO, rounding):f}"
    return text.rstrip("0").rstrip(".")


class CostReservation:
    """Reserves the possible cost of each request of one call before the request is sent."""

    def __init__(self, ledger: Ledger, messages: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> None:
        self.call_budget = ledger.call_budget()
        self.limited = ledger.limited
        self._prompt = prompt_tokens(messages, params.get("tools")) if self.limited else 0
        self._params = params
        self.detached: set[int] = set()
        """Requests that continue after the end of the call. The call does not settle them."""
        self.bounds: dict[int, int] = {}
        """The `max_tokens` to send, by number of the request."""

    def quote(
        self, info: ModelInfo | None, own: Mapping[str, Any], delivered: str = "", written: int = 0
    ) -> Quote | Unaffordable:
        """The quote of a request to the model (with its `own` parameters), or why the request must not be sent.

        `delivered` is the text that the request continues, about `written` tokens of the answer.
        """
        wanted = most_tokens(self._params, own)
        if wanted and most_tokens(self._params, {}):
            wanted = max(1, wanted - written)  # the request lowers its `max_tokens` in the same way
        prompt = self._prompt + _text_tokens(delivered.encode("utf-8", "replace"))
        return quote(info, prompt, wanted, self._choices(own), *self.call_budget.left())

    def hold(
        self, number: int, info: ModelInfo | None, own: Mapping[str, Any], delivered: str = "", written: int = 0
    ) -> Unaffordable | None:
        """Hold the possible cost of request `number`. Returns why the request must not be sent, or None."""
        if not self.limited:
            return None
        found = self.quote(info, own, delivered, written)
        if isinstance(found, Unaffordable):
            return found
        if not self.call_budget.hold(number, found.most):
            return Unaffordable("other calls hold what is left to spend")
        if found.max_tokens is not None:
            self.bounds[number] = found.max_tokens
        return None

    def close(self) -> None:
        """End the call: release all held amounts, except those of detached requests."""
        self.call_budget.close(self.detached)

    def settle(self, number: int, cost: Decimal | None, *, estimated: bool) -> None:
        """Book the cost of request `number` (USD, None if unknown) and release its held amount."""
        self.call_budget.settle(number, cost or ZERO, estimated=estimated)

    def settle_cut(
        self, number: int, cost: Decimal | None, info: ModelInfo | None, own: Mapping[str, Any], seconds: float
    ) -> Booking:
        """Book request `number`, which was cancelled after `seconds` without a reported cost; `cost` is an estimate.

        A server may bill tokens that it generated but did not send. So under a limit the booked cost is that of a fast
        model's output in this time, at most the held amount: the limit holds for any bill of the server.
        """
        paid = cost or ZERO
        if self.limited and info is not None and info.completion_price is not None:
            written = int(TOKENS_PER_SECOND * seconds) * self._choices(own)
            paid = max(paid, min(self.call_budget.held(number), prices.cost(info, self._prompt, written) or ZERO))
        return self.call_budget.settle(number, paid, estimated=paid > ZERO)

    def _choices(self, own: Mapping[str, Any]) -> int:
        choices = self._params.get("n", own.get("n"))
        return choices if isinstance(choices, int) else 1
