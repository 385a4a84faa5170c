"""The exceptions that users catch.

All exceptions derive from `FallbackError`, can be pickled, and hold neither a key nor a prompt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .results import Attempt, Skipped


class FallbackError(Exception):
    """A call failed. The base class of all errors.

    `attempts` lists the attempts in order, `skipped` the skipped models with their reasons. `retry_after` is the number
    of seconds after which a new call may succeed, None if unknown. `partial` is the text received before a stream
    failed.
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
    """Every available model failed, for more than one reason."""


class AuthenticationError(FallbackError):
    """The endpoint did not accept the API key (401)."""


class InsufficientCreditsError(FallbackError):
    """The account of the key has not enough credits for this request (402)."""


class PermissionDeniedError(FallbackError):
    """A guardrail, region or privacy rule forbids the request (403)."""


class InvalidRequestError(FallbackError):
    """The request is invalid for every model (400, 413, 422)."""


class RateLimitedError(FallbackError):
    """Every model is rate-limited (429). `.retry_after` gives the seconds to wait."""


class ContextLengthError(FallbackError):
    """The request is longer than the context of every model that was called."""


class ContentPolicyError(FallbackError):
    """The provider refused the content. The call does not try another model to evade the refusal."""


class DeadlineExceededError(FallbackError, TimeoutError):
    """The call's total timeout ended before an answer was complete."""


class StreamInterruptedError(FallbackError):
    """A stream failed after text was delivered; `.partial` holds the delivered text."""


class SpendLimitError(FallbackError):
    """No request was sent: every model may cost more than `spend_limit_usd` leaves. `.retry_after`: midnight UTC."""


class LocalError(FallbackError):
    """The cause of the failure is on this machine: no file handles left, a closed event loop, a bug."""


class CatalogError(FallbackError):
    """A list of models, or OpenRouter's data on the key, could not be fetched. A previous list stays in use."""
