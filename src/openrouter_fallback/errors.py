"""The exceptions users catch.

All derive from `FallbackError`, can be pickled, and hold neither a key nor a prompt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .results import Attempt, Skipped


class FallbackError(Exception):
    """A call that could not be answered.

    `attempts` lists what was tried, in order; `skipped` the models that were left out, each with its reason;
    `retry_after` the seconds after which a new call may succeed, where that is known; `partial` the text that had been
    received when a stream broke off.
    """

    def __init__(
        self,
        message: str,
        *,
        attempts: tuple[Attempt, ...] = (),
        skipped: tuple[Skipped, ...] = (),
        retry_after: float | None = None,
        partial: str | None = None,
    ) -> None:
        super().__init__(message)
        self.attempts = attempts
        self.skipped = skipped
        self.retry_after = retry_after
        self.partial = partial

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), str(self)), self.__dict__


def _rebuild(cls: type[FallbackError], message: str) -> FallbackError:
    return cls(message)


class ConfigError(FallbackError, ValueError):
    """A configuration or an argument that cannot be used; the message says where, what was found, what is allowed.

    `mistakes`: those of a configuration, each as file, line (None where it has none), key and text; all of them, where
    the message shows the first ten.
    """

    mistakes: tuple[tuple[str, int | None, str, str], ...] = ()


class AllModelsFailedError(FallbackError):
    """Every model that could be asked has failed, for more than one reason."""


class AuthenticationError(FallbackError):
    """The endpoint did not accept the API key (401)."""


class InsufficientCreditsError(FallbackError):
    """The account behind the key has no credits for this request (402)."""


class PermissionDeniedError(FallbackError):
    """A guardrail, region or privacy rule forbids the request (403)."""


class InvalidRequestError(FallbackError):
    """The request itself is wrong; no other model would take it (400, 413, 422)."""


class RateLimitedError(FallbackError):
    """Every model is rate-limited; `.retry_after` says for how many seconds (429)."""


class ContextLengthError(FallbackError):
    """The request is longer than the context of every model that was asked."""


class ContentPolicyError(FallbackError):
    """The provider refused the content; no other model was asked to go round that."""


class DeadlineExceededError(FallbackError, TimeoutError):
    """The call's time was used up before an answer was complete."""


class StreamInterruptedError(FallbackError):
    """A stream broke off after text had been delivered; `.partial` holds that text."""


class SpendLimitError(FallbackError):
    """Nothing was sent: every model would cost more than `spend_limit_usd` leaves; `.retry_after` is midnight UTC."""


class LocalError(FallbackError):
    """The cause is on this machine: no file handles left, a closed event loop, a bug."""


class CatalogError(FallbackError):
    """An endpoint's list of models could not be had; what was known of its models stays."""
