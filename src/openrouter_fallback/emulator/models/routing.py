"""The providers of a model that may answer a request, in order. Raises `Refused` if no provider remains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from ..answers import tools
from ..requests.refusal import Refused, unavailable
from .bundled import RETIRED, Host
from .registry import Model, Models

Json = Mapping[str, Any]

_DOCS = "To learn more about provider routing, visit: https://openrouter.ai/docs/guides/routing/provider-selection"
_MILLION = Decimal(10**6)
_MODALITY_OF_PART = {
    "image_url": "image",
    "input_audio": "audio",
    "file": "file",
    "video_url": "video",
    "input_video": "video",
}


def known(models: Models, name: str) -> Model:
    """The model of an id. Raises `Refused` for an unknown or a retired id."""
    model = models.find(name)
    if model is not None:
        return model
    successor = RETIRED.get(name)
    if successor is not None and models.find(successor) is not None:
        raise unavailable(
            404, "model_deprecated", f"No endpoints found for {name}.", [name], fallback_models=[successor]
        )
    raise unavailable(400, "model_not_found", f"{name} is not a valid model ID", [name])


def hosts(model: Model, request: Json, prompt_tokens: int, *, exact: bool = True) -> list[Host]:
    """The providers that may be called, in order. If the request disallows fallbacks, only the first.

    Unless `exact`, the model can do everything, and only the request's `provider` settings restrict the list.
    """
    if exact:
        _fits(model, request, prompt_tokens)
    wishes = request.get("provider") or {}
    left = list(model.hosts)
    for rule in (*_ABILITIES, *_WISHES) if exact else _WISHES:
        left = [host for host in left if rule.allows(model, host, request, wishes)]
        if not left:
            raise rule.refusal(model, wishes)
    left = _ordered(model, left, request, wishes)
    if not left:
        raise _not_allowed(model, wishes)
    if wishes.get("allow_fallbacks") is False:
        return left if wishes.get("order") else left[:1]
    return left


def _fits(model: Model, request: Json, prompt_tokens: int) -> None:
    """Check the request against the model's context length, modalities and reasoning. Raises `Refused`."""
    if "text" not in model.outputs:
        raise unavailable(400, "wrong_endpoint", f"{model.id} is not a chat model.", [model.id])
    sees(model, request)
    for need in sorted(set(request.get("modalities") or ()) - set(model.outputs)):
        message = f"No endpoints found that support the requested output modalities: {need}"
        raise unavailable(404, "constraint_filtered", message, [model.id], constraint=need)
    wish = request.get("reasoning") or {}
    if model.must_reason and (
        wish.get("enabled") is False or "none" in (wish.get("effort"), request.get("reasoning_effort"))
    ):
        raise Refused(400, "Reasoning is mandatory for this endpoint and cannot be disabled.")
    wanted = request.get("max_completion_tokens") or request.get("max_tokens") or 0
    if model.context is not None and prompt_tokens + wanted > model.context and not _shortens(request):
        message = (
            f"This endpoint's maximum context length is {model.context} tokens. However, you requested about "
            f"{prompt_tokens + wanted} tokens ({prompt_tokens} of text input, {wanted} in the output). "
            "Please reduce the length of either one."
        )
        raise Refused(400, message, {"error_type": "context_length_exceeded"})


def sees(model: Model, request: Json) -> None:
    """Raise `Refused` for content parts of a kind that the model does not read."""
    needs = {
        _MODALITY_OF_PART[part["type"]]
        for message in request["messages"]
        if isinstance(message.get("content"), list)
        for part in message["content"]
        if part["type"] in _MODALITY_OF_PART
    }
    # For models that do not read files, OpenRouter converts a file to text.
    for need in sorted(needs - {"file"} - set(model.inputs)):
        ability = "image input" if need == "image" else f"input {need}"
        raise unavailable(
            404, "constraint_filtered", f"No endpoints found that support {ability}", [model.id], constraint=need
        )


def _shortens(request: Json) -> bool:
    """Whether the request lets OpenRouter shorten the prompt to the context length."""
    plugins = (plugin for plugin in request.get("plugins") or () if plugin.get("id") == "context-compression")
    return bool(request.get("transforms")) or any(plugin.get("enabled") is not False for plugin in plugins)


class _Rule(NamedTuple):
    allows: Callable[[Model, Host, Json, Json], bool]
    refusal: Callable[[Model, Json], Refused]


def _listed(host: Host, names: Sequence[str] | None) -> bool:
    """Whether a request's list contains a provider: by slug, by slug with quantization, or by name."""
    wanted = {name.lower() for name in names or ()}
    return bool(wanted & {host.tag, f"{host.tag}/{host.quantization}", host.name.lower()})


def _preferred(model: Model, host: Host, request: Json, wishes: Json) -> bool:
    only = wishes.get("only")
    return (only is None or _listed(host, only)) and not _listed(host, wishes.get("ignore"))


def _cheap(model: Model, host: Host, request: Json, wishes: Json) -> bool:
    prices = model.prices_at(host)
    for key, most in (wishes.get("max_price") or {}).items():
        factor = _MILLION if key in ("prompt", "completion") else 1
        try:
            if most is not None and prices.get(key, Decimal(0)) * factor > Decimal(str(most)):
                return False
        except InvalidOperation:
            raise Refused(400, f"Invalid input: expected a number at provider.max_price.{key}") from None
    return True


def _private(model: Model, host: Host, request: Json, wishes: Json) -> bool:
    denied = wishes.get("data_collection") == "deny"
    return not (denied and host.collects) and not (wishes.get("zdr") and not host.zdr)


def _quantized(model: Model, host: Host, request: Json, wishes: Json) -> bool:
    return not wishes.get("quantizations") or host.quantization in wishes["quantizations"]


def _supports(model: Model, host: Host, parameter: str) -> bool:
    return parameter in model.parameters and parameter not in host.lacks.split()


def _uses_tools(model: Model, host: Host, request: Json, wishes: Json) -> bool:
    functions = any(tool["type"] == "function" for tool in request.get("tools") or ())
    return not functions or _supports(model, host, "tools")


def _writes_schemas(model: Model, host: Host, request: Json, wishes: Json) -> bool:
    wanted = (request.get("response_format") or {}).get("type") == "json_schema"
    return not wanted or _supports(model, host, "structured_outputs")


def _takes_all(model: Model, host: Host, request: Json, wishes: Json) -> bool:
    if not wishes.get("require_parameters"):
        return True
    return all(_supports(model, host, name) for name in _OPTIONAL if request.get(name) is not None)


# Parameters that a model may lack. OpenRouter removes them silently unless the request sets `require_parameters`.
_OPTIONAL = (
    "logprobs",
    "parallel_tool_calls",
    "reasoning",
    "response_format",
    "seed",
    "tool_choice",
    "tools",
    "top_logprobs",
)


def _not_allowed(model: Model, wishes: Json) -> Refused:
    asked = [*(wishes.get("only") or ()), *(wishes.get("order") or ())]
    metadata = {
        "error_type": "not_found",
        "available_providers": [host.tag for host in model.hosts],
        "requested_providers": asked,
    }
    availability = {"code": "constraint_filtered", "retryable": False, "requested_models": [model.id]}
    message = "No allowed providers are available for the selected model."
    return Refused(404, message, metadata, {**availability, "constraint": "provider"})


def _filtered(code: str, message: str, **more: Any) -> Callable[[Model, Json], Refused]:
    return lambda model, wishes: unavailable(404, code, message, [model.id], **more)


# Rules about the abilities of the model and its providers.
_ABILITIES = (
    _Rule(
        _uses_tools,
        _filtered("constraint_filtered", f"No endpoints found that support tool use. {_DOCS}", constraint="tools"),
    ),
    _Rule(
        _writes_schemas,
        _filtered(
            "constraint_filtered",
            f"No endpoints found that support structured outputs. {_DOCS}",
            constraint="structured_outputs",
        ),
    ),
)
# Rules about the request's `provider` settings.
_WISHES = (
    _Rule(
        _takes_all,
        _filtered(
            "constraint_filtered",
            f"No endpoints found that can handle the requested parameters. {_DOCS}",
            constraint="require_parameters",
        ),
    ),
    _Rule(
        _private,
        _filtered(
            "privacy_restricted",
            "No endpoints found matching your data policy. Configure: https://openrouter.ai/settings/privacy",
        ),
    ),
    _Rule(
        _cheap,
        _filtered("constraint_filtered", f"No endpoints found within your max price. {_DOCS}", constraint="max_price"),
    ),
    _Rule(
        _quantized,
        _filtered(
            "constraint_filtered", f"No endpoints found with these quantizations. {_DOCS}", constraint="quantizations"
        ),
    ),
    _Rule(_preferred, _not_allowed),
)


def _ordered(model: Model, left: list[Host], request: Json, wishes: Json) -> list[Host]:
    order = wishes.get("order") or ()
    if order:
        ranked = [host for name in order for host in left if _listed(host, [name])]
        first = list(dict.fromkeys(ranked))
        return first if wishes.get("allow_fallbacks") is False else [*first, *(h for h in left if h not in first)]
    sort = wishes.get("sort")
    by = sort.get("by") if isinstance(sort, dict) else sort or _SORT_OF_VARIANT.get(request["model"].partition(":")[2])
    return sorted(left, key=_SORTS[by]) if by in _SORTS else left


_SORT_OF_VARIANT = {"nitro": "throughput", "floor": "price"}
_SORTS: dict[Any, Callable[[Host], Any]] = {
    "price": lambda host: Decimal(host.factor),
    "throughput": lambda host: -host.tokens_per_second,
    "latency": lambda host: -host.tokens_per_second,
}


def searches(request: Json, model: Model) -> bool:
    """Whether this request searches the web: by the plugin, the `:online` variant, a server tool, or the model."""
    plugins = request.get("plugins") or ()
    asked = any(plugin.get("id") == "web" and plugin.get("enabled") is not False for plugin in plugins)
    served = any(tool.get("type") in _SEARCH_TOOLS for tool in request.get("tools") or ())
    return asked or served or request["model"].endswith(":online") or "web_search_options" in model.parameters


_SEARCH_TOOLS = ("openrouter:web_search", "web_search", "web_search_preview")


def prompt_tokens(request: Json) -> int:
    """The number of tokens of the whole conversation."""
    return sum(message_tokens(message) for message in request["messages"])


def message_tokens(message: Json) -> int:
    """The number of tokens of one message.

    A word counts about one token, the message itself 4, each image, file or audio part a fixed number.
    """
    content = message.get("content")
    other = sum(part["type"] != "text" for part in content) if isinstance(content, list) else 0
    return 4 + tools.token_count(content) + other * _TOKENS_PER_PART


_TOKENS_PER_PART = 258
