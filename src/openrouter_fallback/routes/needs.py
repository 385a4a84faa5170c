"""What a request asks for: its parameters, be they a call's or a model's own, and what it needs of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

CHARACTERS_PER_TOKEN = 5
"""More than prose has in any language (English: 4 to 4.7): what seems too long by this measure is too long."""
_SHORT_BYTES = 20_000
"""A request that fits into every model's context: 4,000 tokens is the smallest there is."""

TOKEN_LIMITS: Final = ("max_completion_tokens", "max_tokens")
"""Both names of the most tokens of an answer: OpenAI's newer models refuse the second one."""

_PARTS: Final = {
    "image_url": "image",
    "input_audio": "audio",
    "file": "file",
    "video_url": "video",
    "input_video": "video",
}
_COMPRESSION: Final = "context-compression"
# What an endpoint calls a need that it does not serve.
_WORDS: Final = {
    "tools": ("tool", "function"),
    "structured_outputs": ("json", "schema", "structured", "response_format", "response format"),
    "image": ("image", "vision"),
}

# What says that something is not there, rather than that it is too large or malformed.
_LACKING: Final = (
    "support",
    "has no",
    "have no",
    "lack",
    "cannot",
    "can't",
    "not available",
    "not enabled",
    "no endpoints",
)
# What names a feature without being about it, and what says that features do not go together.
_VALUES: Final = ("tool_choice", "tool choice", "parallel_tool_calls", "parallel tool calls", "tool_call_id")
_COMBINED: Final = ("together", "combin", "simultaneous", "at the same time", "mutually", "with response_format")


def written_tokens(text: str, pieces: int = 0) -> int:
    """About how many tokens a `text` has that came in so many `pieces`: one for each, or more by its length.

    The only estimate of what a model has written without reporting it: for usage, cost, `max_tokens` and what is held.
    """
    return max(pieces, len(text) // CHARACTERS_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a request needs of a model: abilities, as `ModelInfo.can` names them, and room for at least `tokens`."""

    abilities: frozenset[str] = frozenset()
    tokens: int = 0

    def __bool__(self) -> bool:
        return bool(self.abilities or self.tokens)


SPECIAL: Final = frozenset(
    {
        "functions",
        "image_config",
        "include_reasoning",
        "modalities",
        "plugins",
        "provider",
        "reasoning",
        "reasoning_effort",
        "response_format",
        "tools",
        "transforms",
        "web_search_options",
    }
)
"""All parameters that say what a request needs, whether it is slow, wants JSON or chooses providers."""


def undemanding(params: Mapping[str, Any]) -> bool:
    """Whether there is none of those: most requests have none, and are looked at no further."""
    return SPECIAL.isdisjoint(params)


def may_be_long(size: int) -> bool:
    """Whether a request of so many bytes may be too long for a model's context."""
    return size > _SHORT_BYTES


def token_limits(params: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The limits of an answer's tokens that hold, by parameter: the call's (`params`) if it has any, else the model's.

    A call that says `max_tokens` replaces the model's `max_completion_tokens` too: both mean the same.
    """
    for given in (params, own):
        limits = {name: given[name] for name in TOKEN_LIMITS if given.get(name) is not None}
        if limits:
            return limits
    return {}


def most_tokens(params: Mapping[str, Any], own: Mapping[str, Any]) -> int | None:
    """The most tokens of an answer that are asked for, of two limits the higher one; None: as many as there come."""
    limits = token_limits(params, own).values()
    return max((one for one in limits if isinstance(one, int) and not isinstance(one, bool) and one > 0), default=None)


def needs(params: Mapping[str, Any], messages: Sequence[Mapping[str, Any]], size: int) -> Needs:
    """What a request of `size` bytes rests on."""
    found = set()
    if params.get("tools") or params.get("functions"):
        found.add("tools")
    response_format = params.get("response_format")
    # A plain JSON object any model can be talked into: OpenRouter leaves the parameter out where it is not known.
    if isinstance(response_format, Mapping) and response_format.get("type") == "json_schema":
        found.add("structured_outputs")
    for modality in _listed(params, "modalities"):
        if modality != "text":
            found.add(f"{modality}_output")
    length, counts = 0, may_be_long(size) and not _shortened(params)
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            found.update(_PARTS[kind] for part in content if (kind := _kind(part)) in _PARTS)
        if counts:
            length += _length(content)
    return Needs(frozenset(found), length // CHARACTERS_PER_TOKEN if length > _SHORT_BYTES else 0)


def blamed(message: str, needs: Iterable[str]) -> list[str]:
    """Which of a request's needs an endpoint says it lacks: only what the message itself names.

    A value of a parameter (`tool_choice`), or two features that do not go together, is a matter of this request.
    """
    said = message.lower()
    for value in _VALUES:
        said = said.replace(value, "")
    if not any(word in said for word in _LACKING):
        return []
    named = [need for need in needs if any(word in said for word in _WORDS.get(need, (need.split("_")[0],)))]
    return [] if len(named) > 1 or any(word in said for word in _COMBINED) else named


def _kind(part: object) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    return kind if isinstance(kind, str) else ""


def _shortened(params: Mapping[str, Any]) -> bool:
    """Whether OpenRouter is asked to cut the prompt to the model's context: then it fits into any."""
    return bool(params.get("transforms")) or any(
        isinstance(plugin, Mapping) and plugin.get("id") == _COMPRESSION and plugin.get("enabled") is not False
        for plugin in _listed(params, "plugins")
    )


def _length(content: object) -> int:
    """The characters of a message's text; runs of blanks, of which tokenizers make one token, count next to nothing."""
    parts: Sequence[Any] = content if isinstance(content, list) else ({"text": content},)
    texts = (part.get("text") for part in parts if isinstance(part, Mapping))
    return sum(len(text) - 2 * (text.count("  ") + text.count("\t\t")) for text in texts if isinstance(text, str))


def wants_json(params: Mapping[str, Any]) -> bool:
    """Whether the answer must be JSON."""
    response_format = params.get("response_format")
    return isinstance(response_format, Mapping) and response_format.get("type") in ("json_object", "json_schema")


def slow(params: Mapping[str, Any]) -> bool:
    """Whether the first token may take minutes: reasoning, images, plugins, server tools."""
    reasoning = params.get("reasoning")
    if isinstance(reasoning, Mapping):
        asked = reasoning.get("enabled") is not False and reasoning.get("effort") != "none"
        if asked and reasoning:
            return True
    return (
        params.get("reasoning_effort") not in (None, "none")
        or bool(params.get("include_reasoning"))
        or "image" in _listed(params, "modalities")
        or bool(params.get("image_config") or params.get("plugins") or params.get("web_search_options"))
        or any(_server_tool(tool) for tool in _listed(params, "tools"))
    )


def own_providers(params: Mapping[str, Any]) -> bool:
    """Whether the user has chosen the providers."""
    provider = params.get("provider")
    return isinstance(provider, Mapping) and bool(provider.get("only") or provider.get("order"))


def _listed(params: Mapping[str, Any], name: str) -> Sequence[Any]:
    """The list that a parameter should be; none where it is something else, which the endpoint will refuse."""
    value = params.get(name)
    return value if isinstance(value, list | tuple) else ()


def _server_tool(tool: object) -> bool:
    return isinstance(tool, Mapping) and str(tool.get("type", "")).startswith("openrouter:")


@dataclass(frozen=True, slots=True)
class RequestTraits:
    """What the machine must know of the request.

    `slow`: it asks for reasoning, images, plugins or carries a very long prompt; `needs`: abilities it rests on;
    `own_providers`: the caller chose the providers; `continues`: delivered text may be gone on from; `idempotent`: it
    may be sent to two models at once; `bounded`: the caller has set how long the answer may be; `size`: the class of
    its prompt's length, 0 (below 4,000 tokens) to 3 (128,000).
    """

    slow: bool = False
    needs: frozenset[str] = frozenset()
    own_providers: bool = False
    continues: bool = False
    idempotent: bool = True
    bounded: bool = False
    size: int = 0
