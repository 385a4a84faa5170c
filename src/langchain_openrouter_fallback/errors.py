"""The core's errors that are LangChain's as well.

A chain that has given up has already tried what there was: none of these is retryable, so that retry middlewares do not
multiply an outage. Each is also the error of `openrouter_fallback` of the same name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

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
    """A call that could not be answered."""

    is_retryable = False


class ConfigError(core.ConfigError, FallbackError, ModelInvalidRequestError):
    """A configuration or an argument that cannot be used."""


class AllModelsFailedError(core.AllModelsFailedError, FallbackError, ModelAPIError):
    """Every model that could be asked has failed."""


class AuthenticationError(core.AuthenticationError, FallbackError, ModelAuthenticationError):
    """The endpoint did not accept the API key (401)."""


class InsufficientCreditsError(core.InsufficientCreditsError, FallbackError):
    """The account has no credits for this request (402)."""


class SpendLimitError(core.SpendLimitError, FallbackError):
    """Every model would cost more than the spend limit leaves; nothing was sent."""


class PermissionDeniedError(core.PermissionDeniedError, FallbackError, ModelPermissionDeniedError):
    """A guardrail, region or privacy rule forbids the request (403)."""


class InvalidRequestError(core.InvalidRequestError, FallbackError, ModelInvalidRequestError):
    """The request itself is wrong (400, 413, 422)."""


class RateLimitedError(core.RateLimitedError, FallbackError, ModelRateLimitError):
    """Every model is rate-limited; `.retry_after` says for how many seconds (429)."""


class ContextLengthError(core.ContextLengthError, FallbackError, ContextOverflowError):
    """The request is longer than the context of every model that was asked: summarize, and ask again."""


class ContentPolicyError(core.ContentPolicyError, FallbackError, ModelInvalidRequestError):
    """The provider refused the content."""


class DeadlineExceededError(core.DeadlineExceededError, FallbackError, ModelTimeoutError):
    """The call's time was used up before an answer was complete."""


class StreamInterruptedError(core.StreamInterruptedError, FallbackError, ModelAPIError):
    """A stream broke off after text had been delivered; `.partial` holds that text."""


class LocalError(core.LocalError, FallbackError):
    """The cause is on this machine."""


_TWINS: Mapping[type[core.FallbackError], type[FallbackError]] = {
    twin.__mro__[1]: twin for twin in FallbackError.__subclasses__()
} | {core.FallbackError: FallbackError}


@contextmanager
def as_model_errors() -> Iterator[None]:
    """Raise every error of the core as its twin here."""
    try:
        yield
    except core.FallbackError as error:
        if isinstance(error, ModelError):
            raise
        raise twin_of(error) from None


def twin_of(error: core.FallbackError) -> FallbackError:
    """The same error, as one of LangChain's too."""
    cls = next(_TWINS[base] for base in type(error).__mro__ if base in _TWINS)
    twin = cls(str(error))
    twin.__dict__.update(error.__dict__)
    return twin
