"""The errors of the chat model. Each is both an error of LangChain and the core's error with the same name.

No error is retryable: the chain has already tried its models, and a retry middleware would multiply the load of an
outage.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelError,
    ModelInvalidRequestError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
)

import openrouter_fallback as core


class FallbackError(core.FallbackError, ModelError):
    """No model answered the call."""

    is_retryable = False


class ConfigError(core.ConfigError, FallbackError, ModelInvalidRequestError):
    """A configuration or an argument is invalid."""


class AllModelsFailedError(core.AllModelsFailedError, FallbackError, ModelAPIError):
    """Every model that could be called has failed."""


class AuthenticationError(core.AuthenticationError, FallbackError, ModelAuthenticationError):
    """The endpoint did not accept the API key (401)."""


class InsufficientCreditsError(core.InsufficientCreditsError, FallbackError):
    """The account has no credits for this request (402)."""


class SpendLimitError(core.SpendLimitError, FallbackError):
    """Every model would cost more than the rest of the spend limit; no request was sent."""


class PermissionDeniedError(core.PermissionDeniedError, FallbackError, ModelPermissionDeniedError):
    """A guardrail, region or privacy rule forbids the request (403)."""


class InvalidRequestError(core.InvalidRequestError, FallbackError, ModelInvalidRequestError):
    """The request itself is invalid (400, 413, 422)."""


class RateLimitedError(core.RateLimitedError, FallbackError, ModelRateLimitError):
    """Every model is rate-limited (429). `.retry_after` is the time to wait, in seconds."""


class ContextLengthError(core.ContextLengthError, FallbackError, ContextOverflowError):
    """The request is longer than the context of every model that was called. Shorten it, and call again."""


class ContentPolicyError(core.ContentPolicyError, FallbackError, ModelInvalidRequestError):
    """The provider refused the content."""


class DeadlineExceededError(core.DeadlineExceededError, FallbackError, ModelTimeoutError):
    """The deadline of the call passed before an answer was complete."""


class StreamInterruptedError(core.StreamInterruptedError, FallbackError, ModelAPIError):
    """A stream broke off after text had been delivered. `.partial` is that text."""


class LocalError(core.LocalError, FallbackError):
    """The call failed because of this machine, not because of a model (a closed event loop, too many open files)."""


_TWINS: Mapping[type[core.FallbackError], type[FallbackError]] = {
    twin.__mro__[1]: twin for twin in FallbackError.__subclasses__()
} | {core.FallbackError: FallbackError}


class as_model_errors:
    """Raise every error of the core in the `with` block as the error with the same name in this module."""

    __slots__ = ()

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, core.FallbackError) and not isinstance(error, ModelError):
            raise twin_of(error) from None


def twin_of(error: core.FallbackError) -> FallbackError:
    """The error of this module for an error of the core, with the same message and fields."""
    cls = next(_TWINS[base] for base in type(error).__mro__ if base in _TWINS)
    twin = cls(str(error))
    twin.__dict__.update(error.__dict__)
    return twin
