"""The names of all arguments and parameters, and the error message for an unknown name."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, wraps
from typing import Any, TypeVar, cast

from .config.models import Settings
from .errors import ConfigError
from .sealed import bare, sealed, sealed_headers
from .suggest import CLOSE, VERY_CLOSE, likely, meant, nearest, snake

F = TypeVar("F", bound=Callable[..., Any])

ROUTING = ("task", "max_cost_tier", "max_price", "models", "primary_provider")
OF_A_CALL = (
    *ROUTING,
    "accept",
    "headers",
    "idempotent",
    "mid_stream",
    "stall_timeout",
    "thread_id",
    "timeout",
    "total_timeout",
)
"""The arguments of a call that are not request parameters."""
OF_A_CLIENT = ("models", "config", "base_url", "api_key", "settings", "headers", "app_url", "app_title")
PARAMETERS = frozenset(
    {
        "audio",
        "cache_control",
        "debug",
        "frequency_penalty",
        "function_call",
        "functions",
        "image_config",
        "include_reasoning",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "metadata",
        "min_p",
        "modalities",
        "n",
        "parallel_tool_calls",
        "plugins",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "provider",
        "reasoning",
        "reasoning_effort",
        "repetition_penalty",
        "response_format",
        "route",
        "seed",
        "service_tier",
        "session_id",
        "stop",
        "stop_server_tools_when",
        "store",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_a",
        "top_k",
        "top_logprobs",
        "top_p",
        "trace",
        "transforms",
        "usage",
        "user",
        "verbosity",
        "web_search_options",
    }
)
"""The request parameters in OpenAI's and OpenRouter's references. Unknown parameters are sent unchanged."""
_PARAMETER = 0.9
"""The lowest similarity of a misspelt parameter. High, because OpenRouter's new parameters resemble known ones."""


@lru_cache(maxsize=256)
def refusal(name: str) -> str | None:
    """Why a call rejects an argument that is not in `PARAMETERS`; None if it is sent unchanged."""
    said = meant("call", name) or _elsewhere(name)
    if said is not None:
        return f"{name}= is not an argument here; {said}"
    plain = snake(name)
    near = plain if plain != name and (plain in PARAMETERS or plain in OF_A_CALL) else None
    if near is None and (said := likely("call", name)) is not None:
        return f"{name}= is not an argument here; {said} (extra_body={{...}} sends it as it is)"
    near = near or nearest(name, OF_A_CALL, VERY_CLOSE) or nearest(name, sorted(PARAMETERS), _PARAMETER)
    if near is None:
        return None
    return f"{name}= is not an argument; did you mean {near}=? (extra_body={{...}} sends it as it is)"


def _elsewhere(name: str) -> str | None:
    if name in Settings.model_fields:
        return f"it is a setting of the client: FallbackClient(..., settings={{{name!r}: ...}})"
    if name in OF_A_CLIENT:
        return f"it is an argument of the client: FallbackClient(..., {name}=...)"
    return None


_SECRETS: Mapping[str, Callable[[Any], Any]] = {"api_key": sealed, "headers": sealed_headers}
"""Arguments that may hold secrets. They are masked, because a traceback may show the frame."""


def refuses_others(place: str) -> Callable[[F], F]:
    """A decorator for functions with named arguments only: an unknown argument raises a `ConfigError` with a hint.

    `place` is `client` or `copy`.
    """

    def decorate(function: F) -> F:
        known = frozenset(inspect.signature(function).parameters)

        @wraps(function)
        def checked(*args: Any, **given: Any) -> Any:
            given.update({name: seal(given[name]) for name, seal in _SECRETS.items() if name in given})
            outer = sys.exception()
            try:
                if not given.keys() <= known:
                    raise ConfigError(_unknown(place, min(given.keys() - known), known - {"self"}))
                return function(*args, **given)
            except ConfigError as error:
                del args, given
                raise bare(error, outer)  # noqa: B904 - the same error

        return cast("F", checked)

    return decorate


def _unknown(place: str, name: str, known: Iterable[str]) -> str:
    owner = "FallbackClient" if place == "client" else "with_options"
    said = meant(place, name)
    if said is None and name in ROUTING:
        said = f"the routing of a client: from_config(path, {name}=...) or client.with_options({name}=...)"
    if said is None and name in OF_A_CALL:
        for_all = f"; for all calls FallbackClient(..., {name}=...)" if name in OF_A_CLIENT else ""
        said = f"it is an argument of a call: client.chat(..., {name}=...){for_all}"
    if said is None and name in PARAMETERS:
        said = f"it is a parameter of a call: client.chat(..., {name}=...), or of a model: params={{{name!r}: ...}}"
    if said is None:
        said = _elsewhere(name)
    if said is None:
        said = likely(place, name)
    if said is None:
        near = nearest(name, sorted(known), CLOSE)
        said = f"did you mean {near}=?" if near is not None else f"there are {', '.join(sorted(known))}"
    return f"{owner} has no argument {name}=; {said}"
