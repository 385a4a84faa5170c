"""The error messages of failed calls: what happened, what was tried, what to do next. Text only, no decisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..config.models import OPENROUTER
from ..decision.commands import Fail
from ..errors import (
    AllModelsFailedError,
    AuthenticationError,
    ContentPolicyError,
    ContextLengthError,
    DeadlineExceededError,
    FallbackError,
    InsufficientCreditsError,
    InvalidRequestError,
    LocalError,
    PermissionDeniedError,
    RateLimitedError,
    SpendLimitError,
    StreamInterruptedError,
)
from ..failures.kinds import Failure, FailureKind
from ..results import Attempt, Skipped
from ..spending.ledger import DAY_SECONDS, Spend
from ..spending.quotes import dollars

STATUS_PAGE = "https://status.openrouter.ai"
_SHOWN = 12
_NAMED = 3
_OVER_BUDGET = (
    "The retry budget is exhausted: too many requests of the last 10 s were retries, so no model was called again."
)
_NONE_ALLOWED = (
    "enable a disabled model, allow a higher max_cost_tier or max_price (prices come with client.refresh_catalog()),"
    " or name other models in models=."
)

_K = FailureKind
OWN_CLASS: Mapping[FailureKind, type[FallbackError]] = {
    _K.RATE_LIMITED: RateLimitedError,
    _K.CONTEXT_TOO_LONG: ContextLengthError,
    _K.REJECTED: InvalidRequestError,
    _K.MODERATION: ContentPolicyError,
    _K.CONTENT_POLICY: ContentPolicyError,
    _K.CREDITS: InsufficientCreditsError,
    _K.AUTH: AuthenticationError,
    _K.FORBIDDEN: PermissionDeniedError,
    _K.GUARDRAIL: PermissionDeniedError,
    _K.INVALID_REQUEST: InvalidRequestError,
    _K.LOCAL: LocalError,
}
"""Exceptions by the kind that decides a failure; other kinds, and mixed failures, are `AllModelsFailedError`."""

NEXT_STEP: Mapping[FailureKind, str] = {
    _K.RATE_LIMITED: "Add models of other providers to the chain, or credits to the account: limits are per key.",
    _K.OVERLOADED: f"The providers are overloaded; {STATUS_PAGE} says more. Add models of other providers.",
    _K.UNAVAILABLE: f"The providers fail; {STATUS_PAGE} says whether it is OpenRouter. Trying again later may help.",
    _K.TIMED_OUT: "Raise the model's timeout if it is known to be slow, or put a faster model behind it.",
    _K.CONNECTION: f"Check the network, proxy, base_url, OPENROUTER_BASE_URL; {STATUS_PAGE} says if OpenRouter is up.",
    _K.BAD_ANSWER: "The models gave no whole answer; another model may do better.",
    _K.CONTEXT_TOO_LONG: "Shorten the messages or max_tokens, or add a model with a larger context to the chain.",
    _K.REJECTED: "Every provider refused the request; check its parameters against what the models support.",
    _K.MODERATION: "The model's moderation flagged the input; change it, or use a model without moderation.",
    _K.CONTENT_POLICY: "Change the request; on_failure: {content_policy: next} would call the next model instead.",
    _K.NOT_FOUND: "Check that the model id, like 'openai/gpt-5.1', exists; base_url must end before /chat/completions.",
    _K.UNSUPPORTED: "Use models that support what the request needs: tools, images, a JSON schema.",
    _K.CREDITS: "Add credits at https://openrouter.ai/settings/credits, lower max_tokens, or use another endpoint too.",
    _K.AUTH: "An OpenRouter key starts with sk-or- and is made at https://openrouter.ai/settings/keys.",
    _K.FORBIDDEN: "Check the account's privacy and region settings at https://openrouter.ai/settings/privacy.",
    _K.GUARDRAIL: "A guardrail of the account forbids this request; its owner can change that.",
    _K.INVALID_REQUEST: "The request itself is wrong, so no other model was called; correct it as the message says.",
    _K.LOCAL: "The cause is on this machine: raise the limit of open files (ulimit -n), or close what is open.",
}


_PRICELESS = (
    "a spend limit needs prices, and they come from the endpoint's list of models. Set settings.catalog: always (auto"
    " fetches no list of a server on this machine, never none at all) or call client.refresh_catalog(), which says what"
    " is wrong; where the list has no prices, remove settings.spend_limit_usd."
)


def error_for(
    given_up: Fail,
    attempts: Sequence[Attempt],
    excluded: Sequence[Skipped],
    *,
    seconds: float,
    key_hint: Callable[[str], str],
    meant: Callable[[str], str | None] = lambda key: None,
) -> FallbackError:
    """The exception of a failed call.

    `meant` returns the id that a non-existent id probably means, `key_hint` where the key of an endpoint came from.
    """
    failed = [attempt for attempt in attempts if attempt.kind is not None and attempt.kind is not _K.CANCELLED]
    skipped = (*given_up.skipped, *excluded)
    kinds = {attempt.kind for attempt in failed if attempt.kind is not None}
    deciding = _deciding(given_up, kinds, skipped)
    cls, headline = _headline(given_up, failed, deciding, seconds)
    retry_after = given_up.retry_after if cls in (RateLimitedError, AllModelsFailedError) else None
    lines = [headline]
    lines += _table(attempts, skipped)
    if given_up.over_budget:
        lines.append(_OVER_BUDGET)
    if retry_after is not None:
        lines.append(f"It may work again in {retry_after:.0f} s.")
    steps = [deciding] if deciding is not None else sorted(kinds)
    lines += [f"Next step: {step}" for kind in steps[:3] if (step := _step(kind, failed, key_hint, meant))]
    if not steps:
        lines.append(f"Next step: {_NONE_ALLOWED}")
    return cls("\n".join(lines), attempts=tuple(attempts), skipped=skipped, retry_after=retry_after)


def too_dear(skipped: Sequence[Skipped], spend: Spend, wall: float, *, priceless: bool = False) -> SpendLimitError:
    """The exception of a call whose models would all exceed the spend limits; `wall` is the time of day.

    `priceless`: some of the models have no known price.
    """
    limits = [
        f"{dollars(most)} USD per {what}" for what, most in (("call", spend.per_call), ("day", spend.per_day)) if most
    ]
    lines = [f"Nothing was sent: the spend limit is {' and '.join(limits)}."]
    lines.append(f"  spent today: {dollars(spend.today)} USD, held by calls under way: {dollars(spend.held)} USD")
    lines += _table((), skipped)
    if priceless:
        lines.append(f"Next step: {_PRICELESS}")
    lines.append("Next step: add a cheaper or a ':free' model, lower max_tokens, or raise settings.spend_limit_usd.")
    retry_after = None if spend.per_day is None else DAY_SECONDS - wall % DAY_SECONDS
    return SpendLimitError("\n".join(lines), skipped=tuple(skipped), retry_after=retry_after)


def _deciding(given_up: Fail, kinds: set[FailureKind], skipped: Sequence[Skipped]) -> FailureKind | None:
    if given_up.failure is not None:
        return given_up.failure.kind
    if len(kinds) == 1:
        return next(iter(kinds))
    if not kinds and any(skip.reason == "rate-limited" for skip in skipped):
        return _K.RATE_LIMITED
    return None


def _headline(
    given_up: Fail, failed: Sequence[Attempt], deciding: FailureKind | None, seconds: float
) -> tuple[type[FallbackError], str]:
    match given_up.why:
        case "interrupted":
            what = _words(given_up.failure)
            return StreamInterruptedError, f"The stream broke off after text had been delivered: {what}"
        case "deadline":
            return DeadlineExceededError, f"No whole answer within {seconds:.1f} s, the call's deadline."
        case "raised" if given_up.failure is not None:
            return OWN_CLASS.get(given_up.failure.kind, AllModelsFailedError), _words(given_up.failure)
    if not failed:
        return OWN_CLASS.get(deciding, AllModelsFailedError) if deciding else AllModelsFailedError, (
            "All models exhausted: none may be called now."
        )
    if deciding is not None and deciding in OWN_CLASS and len(failed) == 1:
        status = f" ({failed[0].status})" if failed[0].status is not None else ""
        return OWN_CLASS[deciding], f"{deciding}{status}: {failed[0].message}"
    models = len({attempt.model for attempt in failed})
    tried = f"{_count(len(failed), 'attempt')} on {_count(models, 'model')}"
    headline = f"All models exhausted: {tried} failed in {seconds:.1f} s."
    return OWN_CLASS.get(deciding, AllModelsFailedError) if deciding else AllModelsFailedError, headline


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _words(failure: Failure | None) -> str:
    if failure is None:
        return "unknown"
    status = f" ({failure.status})" if failure.status is not None else ""
    return f"{failure.kind}{status}: {failure.message}"


def _table(attempts: Sequence[Attempt], skipped: Sequence[Skipped]) -> list[str]:
    """A line for each model that was called or skipped. Equal failures are one line with their number.

    A failed connection is the endpoint's: one line for all its models.
    """
    alike: dict[tuple[object, ...], list[Attempt]] = {}
    for attempt in attempts:
        whose = attempt.endpoint if attempt.kind is _K.CONNECTION else attempt.model
        alike.setdefault((whose, attempt.kind, attempt.status, attempt.message), []).append(attempt)
    lines = [_attempts(group) for group in [*alike.values()][:_SHOWN]]
    if len(alike) > _SHOWN:
        lines.append(f"  ... and {sum(map(len, [*alike.values()][_SHOWN:]))} more attempts")
    for skip in skipped[:_SHOWN]:
        left = f", for {skip.seconds_left:.0f} s more" if skip.seconds_left is not None else ""
        lines.append(f"  {skip.model}: skipped ({skip.reason}{left})")
    return lines


def _attempts(alike: Sequence[Attempt]) -> str:
    """The line of attempts that differ only in their time; the longest is named."""
    first, seconds = alike[0], max(attempt.seconds for attempt in alike)
    status = f" {first.status}" if first.status is not None and first.kind is not None else ""
    times = f", {len(alike)} times" if len(alike) > 1 else ""
    what = f"{first.kind or 'answered'}{status} after {seconds:.2f} s{times}"
    models = list(dict.fromkeys(attempt.model for attempt in alike))
    more = f" and {len(models) - _NAMED} more" if len(models) > _NAMED else ""
    return f"  {', '.join(models[:_NAMED])}{more}: {what}: {first.message}".rstrip(": ")


def _step(
    kind: FailureKind, failed: Sequence[Attempt], key_hint: Callable[[str], str], meant: Callable[[str], str | None]
) -> str:
    step = NEXT_STEP.get(kind, "")
    if kind is _K.NOT_FOUND:
        missing = dict.fromkeys(attempt.model for attempt in failed if attempt.kind is kind)
        near = [f"Did you mean {other!r} by {key!r}? " for key in missing if (other := meant(key)) is not None]
        return "".join(near) + step
    moved = next((one.endpoint for one in failed if one.status is not None and 300 <= one.status < 400), None)
    if kind is _K.INVALID_REQUEST and moved is not None:
        return (
            f"Set base_url of the endpoint {moved} to the URL of the redirect, up to /chat/completions: redirects are"
            " not followed, because they would get the key."
        )
    if kind is not _K.AUTH:
        return step
    refused = dict.fromkeys(attempt.endpoint for attempt in failed if attempt.kind is kind) or {OPENROUTER: None}
    return " ".join(f"{step} {key_hint(name)}" if name == OPENROUTER else key_hint(name) for name in refused)
