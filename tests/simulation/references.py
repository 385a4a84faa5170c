"""The references: a plain SDK client of the first model, and a plain loop over the chain, in the same world.

Both are computed, not simulated, because the reply of a model is a function of the request. Their connections are
always new, which is an advantage for them; or they are `kept` and never die, so that a request arrives earlier.
"""

from __future__ import annotations

from random import Random

from .network import ONE_WAY
from .worlds import Blip, CallSpec, Model, World, reply

ATTEMPTS, ATTEMPTS_OF_ONE = 2, 3
"""The configuration's defaults: attempts per model, and attempts at the only model. The SDK's own default is three."""
_RETRIED = (408, 409, 429)


def attempts(world: World) -> int:
    """The configured number of attempts per model and call."""
    return world.attempts or (ATTEMPTS_OF_ONE if len(world.models) == 1 else ATTEMPTS)


def plain_sdk(world: World, call: CallSpec, *, kept: bool = False) -> float | None:
    """The time of the answer for a client of the first model with the openai SDK's retries; None without an answer."""
    dice = Random(f"{world.seed}/sdk/{call.number}")
    deadline = call.at + (call.total or world.total)
    model, now = world.models[0], call.at
    for attempt in range(attempts(world)):
        done, at, status, retry_after = request(world, model, now, call.number, deadline, kept=kept)
        if done:
            return at
        if status is not None and status < 500 and status not in _RETRIED:
            return None
        if retry_after is not None and 0 < retry_after <= 60:
            now = at + retry_after
        else:
            now = at + min(0.5 * 2.0**attempt, 8.0) * (1.0 - 0.25 * dice.random())
        if now >= deadline:
            return None
    return None


def plain_loop(world: World, call: CallSpec, *, kept: bool = False) -> float | None:
    """The time of the answer for a loop that calls each model once and the next after any error; None without."""
    deadline, now = call.at + (call.total or world.total), call.at
    for model in world.models:
        done, now, _, _ = request(world, model, now, call.number, deadline, kept=kept)
        if done:
            return now
        if now >= deadline:
            return None
    return None


def request(
    world: World, model: Model, now: float, number: int, deadline: float, *, kept: bool = False
) -> tuple[bool, float, int | None, float | None]:
    """One request: (whether it was answered, time when the client knows that, status, Retry-After in seconds)."""
    blips = world.blips_of(model.endpoint)
    status_of = next((blip for blip in blips if blip.start <= now < blip.end), None)
    if status_of is not None:
        # A client that keeps connections would write the request on such a connection and get no response.
        return False, deadline if status_of.kind == "black_hole" else now + 2 * ONE_WAY, None, None
    at = now + (ONE_WAY if kept else 3 * ONE_WAY)
    answer = reply(world, model, at, number)
    whole, failed = answer.answered_after, answer.failed_after
    ends = deadline if whole is None and failed is None else at + (whole or failed or 0.0) + ONE_WAY
    hit = next((blip for blip in blips if now < blip.start < min(ends, deadline) and _cuts(blip)), None)
    if hit is not None:
        return False, hit.start if hit.kind == "reset" else deadline, None, None
    if ends > deadline:
        return False, deadline, None, None
    return whole is not None, ends, answer.status if answer.status != 200 else None, answer.retry_after


def _cuts(blip: Blip) -> bool:
    return blip.kind in ("reset", "black_hole")
