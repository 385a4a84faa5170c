"""One chat model that keeps answering: a chain of models on OpenRouter, routed by task, price and health."""

from ._version import __version__
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
from .router import Route, Skipped, routing
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
    "load_config",
    "routing",
]
