"""Every error is the core's and LangChain's at once, and none of a chain that has given up is tried again."""

from __future__ import annotations

import inspect

import langchain_core.exceptions as lc
import pytest

import openrouter_fallback as core
from langchain_openrouter_fallback import errors

THEIRS: dict[str, type[Exception]] = {
    "AllModelsFailedError": lc.ModelAPIError,
    "AuthenticationError": lc.ModelAuthenticationError,
    "ConfigError": lc.ModelInvalidRequestError,
    "ContentPolicyError": lc.ModelInvalidRequestError,
    "ContextLengthError": lc.ContextOverflowError,
    "DeadlineExceededError": lc.ModelTimeoutError,
    "FallbackError": lc.ModelError,
    "InsufficientCreditsError": lc.ModelError,
    "InvalidRequestError": lc.ModelInvalidRequestError,
    "LocalError": lc.ModelError,
    "PermissionDeniedError": lc.ModelPermissionDeniedError,
    "RateLimitedError": lc.ModelRateLimitError,
    "SpendLimitError": lc.ModelError,
    "StreamInterruptedError": lc.ModelAPIError,
}
NOT_OF_A_CALL = {"CatalogError"}


@pytest.mark.parametrize("name", THEIRS)
def test_an_error_is_both(name: str) -> None:
    error = errors.twin_of(getattr(core, name)("so it is"))
    assert type(error).__name__ == name
    assert isinstance(error, THEIRS[name])
    assert isinstance(error, getattr(core, name))
    assert not error.is_retryable
    assert error.__doc__


def test_every_error_of_a_call_has_a_twin() -> None:
    public = {name: getattr(core, name) for name in core.__all__}
    raised = {n for n, thing in public.items() if inspect.isclass(thing) and issubclass(thing, core.FallbackError)}
    assert raised - NOT_OF_A_CALL == set(THEIRS)


def test_an_unknown_error_is_the_nearest_one() -> None:
    class Newer(core.RateLimitedError):
        """Of a later version."""

    assert type(errors.twin_of(Newer("x"))) is errors.RateLimitedError
    assert isinstance(errors.twin_of(core.DeadlineExceededError("x")), TimeoutError)
    assert isinstance(errors.twin_of(core.ConfigError("x")), ValueError)
