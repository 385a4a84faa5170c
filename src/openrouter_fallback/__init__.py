"""One chat model that keeps answering: a chain of models on OpenRouter, routed by task, price and health."""

from importlib import import_module
from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from .catalog.catalog import Catalog
    from .catalog.listing import ModelInfo
    from .client import FallbackClient
    from .config.loading import config_schema, load_config
    from .config.models import EndpointConfig, FallbackConfig, HedgeConfig, ModelConfig, Settings, SpendLimit
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
    from .failures.kinds import Failure, FailureKind
    from .health import HealthTracker, ModelHealth
    from .results import Attempt, Completion, Piece, Route, Skipped, ToolCall, Usage
    from .routes.choice import current_routing, routing
    from .spending.ledger import Spend
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
        "failures.kinds",
        "catalog.listing",
        "catalog.catalog",
        "config.models",
        "config.loading",
        "results",
        "health",
        "routes.choice",
        "spending.ledger",
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
