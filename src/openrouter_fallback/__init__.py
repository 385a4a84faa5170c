"""One chat model that keeps answering: a chain of models on OpenRouter, routed by task, price and health."""

from importlib import import_module
from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from .catalog import Catalog, ModelInfo
    from .client import FallbackClient
    from .completions import Attempt, Completion, Piece, ToolCall, Usage
    from .config import (
        EndpointConfig,
        FallbackConfig,
        HedgeConfig,
        ModelConfig,
        Settings,
        SpendLimit,
        config_schema,
        load_config,
    )
    from .errors import (
        AllModelsFailedError,
        AuthenticationError,
        CatalogError,
        ConfigError,
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
    from .failures import Failure, FailureKind
    from .health import HealthTracker, ModelHealth
    from .router import Route, Skipped, current_routing, routing
    from .spend import Spend
    from .streams import AsyncStream, Stream

__all__ = [
    "AllModelsFailedError",
    "AsyncStream",
    "Attempt",
    "AuthenticationError",
    "Catalog",
    "CatalogError",
    "Completion",
    "ConfigError",
    "ContentPolicyError",
    "ContextLengthError",
    "DeadlineExceededError",
    "EndpointConfig",
    "Failure",
    "FailureKind",
    "FallbackClient",
    "FallbackConfig",
    "FallbackError",
    "HealthTracker",
    "HedgeConfig",
    "InsufficientCreditsError",
    "InvalidRequestError",
    "LocalError",
    "ModelConfig",
    "ModelHealth",
    "ModelInfo",
    "PermissionDeniedError",
    "Piece",
    "RateLimitedError",
    "Route",
    "Settings",
    "Skipped",
    "Spend",
    "SpendLimit",
    "SpendLimitError",
    "Stream",
    "StreamInterruptedError",
    "ToolCall",
    "Usage",
    "__version__",
    "config_schema",
    "current_routing",
    "load_config",
    "routing",
]

if not TYPE_CHECKING:
    # Where these names live, what is quick to import first. They are looked up when first used: whoever wants the
    # command's help, one error or a configuration does without the client and all that it brings.
    _HOMES = (
        "errors",
        "failures",
        "catalog",
        "config",
        "completions",
        "health",
        "router",
        "spend",
        "streams",
        "client",
    )

    def __getattr__(name: str) -> object:
        for home in _HOMES if name in __all__ else ():
            module = import_module(f"{__name__}.{home}")
            if hasattr(module, name):
                return globals().setdefault(name, getattr(module, name))
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
