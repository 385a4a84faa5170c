"""The needs of a request: the abilities and context that its parameters and messages require of a model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

CHARACTERS_PER_TOKEN = 5
"""More than prose has in any language (English: 4 to 4.7), so the estimate of tokens is low."""
_SHORT_BYTES = 20_000
"""A request of this size fits the context of every model. The smallest context is 4,000 tokens."""

TOKEN_LIMITS: Final = ("max_completion_tokens", "max_tokens")
"""Both names of an answer's token limit. OpenAI's newer models refuse the second name."""

_PARTS: Final = {
    "image_url": "image",
    "input_audio": "audio",
    "file": "file",
    "video_url": "video",
    "input_video": "video",
}
_COMPRESSION: Final = "context-compression"
# How an endpoint's error message names a need.
_NAMES: Final = {
    "tools": r"(?:tool|function)s?(?:[ _-](?:use|usage|calls?|calling))?",
    "structured_outputs": r"structured[ _-]outputs?|response[ _]formats?|json[ _-]schemas?",
    "image": r"(?:input )?images?(?:[ _-](?:inputs?|urls?|understanding))?|vision",
}
_INPUT: Final = r"(?:input )?{0}s?(?:[ _-](?:inputs?|urls?))?"
_OUTPUT: Final = r"{0}[ _]outputs?|{0} generation|output modalit(?:y|ies):? (?:text, ?)?{0}(?:, ?text)?"
# Words for a missing feature, in contrast to a value that is too large or malformed.
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
_NEUTRAL: Final = re.compile(
    r"an?|the|th(?:is|ese|at)|it|its|any|which|your|about|at|by|for|in|of|on|to|with|yet|currently"
    r"|is|are|be|can(?:'t|not)?|do(?:es)?(?:n't)?|not?|has|have|lacks?|(?:un)?support(?:s|ed|ing)?|use|used|accepts?"
    r"|handle|found|available|enabled|requested|provided|selected|following"
    r"|(?:model|endpoint|provider|parameter|param|request|feature|content|input)s?|capabilit(?:y|ies)"
    r"|api|error|code|bad|4\d\d|50\d"
)
"""The words of a message that names a missing feature and nothing else: no value, no second feature, no condition."""
_CLAUSES: Final = re.compile(r"[.;!] |\n| - |\(|, (?=(?:please|but|so|try|use)\b)")
_PREFIXES: Final = re.compile(r"\b(?:invalid request|provider returned error|upstream error)\b")
_WORD: Final = re.compile(r"[\w./:@\[\]'-]+")
_MODEL_ID: Final = re.compile(
    r"(?!(?:image|audio|video|text|application)/)(?:[\w.@:-]*/[\w./:@-]+|(?=.*\d)\w+[.:-][\w.:-]+)"
)
_NAMED_MODEL: Final = re.compile(
    r"\bmodels? ['\"`]?[\w./:@-]*[-/:\d][\w./:@-]*['\"`]?|\bmodels? ['\"`][\w./:@-]+['\"`]"
)


def written_tokens(text: str, pieces: int = 0) -> int:
    """The estimated tokens of a `text` that arrived in `pieces`: one per piece, or more by the length of the text.

    The only estimate of unreported completion tokens: used for usage, cost, `max_tokens` and cost reservations.
    """
    return max(pieces, len(text) // CHARACTERS_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class Needs:
    """The needs of a request: `abilities` as in `ModelInfo.can`, and a context of at least `tokens`."""

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
"""All parameters that set a need, make a request slow, demand JSON or choose providers."""


def undemanding(params: Mapping[str, Any]) -> bool:
    """Whether a request has no parameter in `SPECIAL`. Most requests have none and need no further checks."""
    return SPECIAL.isdisjoint(params)


def may_be_long(size: int) -> bool:
    """Whether a request of `size` bytes may be too long for a model's context."""
    return size > _SHORT_BYTES


def token_limits(params: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The effective token limits of an answer, by parameter: the call's (`params`), else the model's (`own`).

    A call's `max_tokens` also replaces the model's `max_completion_tokens`: both mean the same.
    """
    for given in (params, own):
        limits = {name: given[name] for name in TOKEN_LIMITS if given.get(name) is not None}
        if limits:
            return limits
    return {}


def most_tokens(params: Mapping[str, Any], own: Mapping[str, Any]) -> int | None:
    """The token limit of an answer, the higher one of two limits; None without a limit."""
    limits = token_limits(params, own).values()
    return max((one for one in limits if isinstance(one, int) and not isinstance(one, bool) and one > 0), default=None)


def needs(params: Mapping[str, Any], messages: Sequence[Mapping[str, Any]], size: int) -> Needs:
    """The needs of a request of `size` bytes."""
    found = set()
    if params.get("tools") or params.get("functions"):
        found.add("tools")
    response_format = params.get("response_format")
    # `json_object` is not a need: any model can write JSON, and OpenRouter drops the parameter if unsupported.
    if isinstance(response_format, Mapping) and response_format.get("type") == "json_schema":
        found.add("structured_outputs")
    for modality in _listed(params, "modalities"):
        if modality != "text":
            found.add(f"{modality}_output")
    contents = [message.get("content") for message in messages]
    for content in contents:
        if isinstance(content, list):
            found.update(_PARTS[kind] for part in content if (kind := _kind(part)) in _PARTS)
    length = _length(contents) if may_be_long(size) and not _shortened(params) else 0
    return Needs(frozenset(found), length // CHARACTERS_PER_TOKEN if length > _SHORT_BYTES else 0)


def blamed(message: str, needs: Iterable[str]) -> list[str]:
    """The need that an endpoint's error message names as unsupported, alone or in an empty list.

    A clause blames a need only if it names nothing else. A refused value (`tool_choice`, an image's format), a type of
    tool, a condition (in a stream) or a second feature says nothing of the model, only of this request.
    """
    asked = [*needs]
    for clause in _CLAUSES.split(message.lower().replace("’", "'")):
        if any(word in clause for word in _LACKING):
            named = [need for need in asked if _names_only(clause, need)]
            if len(named) == 1:
                return named
    return []


def _names_only(clause: str, need: str) -> bool:
    """Whether the clause names this need, and besides it only models."""
    feature, output, _ = need.partition("_output")
    name = _NAMES.get(need) or (_OUTPUT if output else _INPUT).format(feature)
    rest, found = re.subn(rf"(?<![\w.\[/-])(?:{name})(?![\w\[/-]|\.\w)", " ", _NAMED_MODEL.sub(" model ", clause))
    words = (word.strip(".:'") for word in _WORD.findall(_PREFIXES.sub(" ", rest)))
    return found > 0 and all(not word or _NEUTRAL.fullmatch(word) or _MODEL_ID.fullmatch(word) for word in words)


def _kind(part: object) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    return kind if isinstance(kind, str) else ""


def _shortened(params: Mapping[str, Any]) -> bool:
    """Whether OpenRouter will cut the prompt to the model's context. Then the prompt fits every model."""
    return bool(params.get("transforms")) or any(
        isinstance(plugin, Mapping) and plugin.get("id") == _COMPRESSION and plugin.get("enabled") is not False
        for plugin in _listed(params, "plugins")
    )


def _length(contents: Sequence[object]) -> int:
    """The characters of the messages' texts. Runs of blanks count almost 0: a tokenizer makes them one token."""
    texts: list[str] = []
    for content in contents:
        if isinstance(content, str):
            texts.append(content)
        elif isinstance(content, list):
            parts = (part.get("text") for part in content if isinstance(part, Mapping))
            texts += [text for text in parts if isinstance(text, str)]
    length = sum(map(len, texts))
    if length <= _SHORT_BYTES:
        return length  # fits every model, whatever its blanks
    whole = "\n".join(texts)
    return length - 2 * (whole.count("  ") + (whole.count("\t\t") if "\t" in whole else 0))


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
    """Whether the parameters choose the providers."""
    provider = params.get("provider")
    return isinstance(provider, Mapping) and bool(provider.get("only") or provider.get("order"))


def _listed(params: Mapping[str, Any], name: str) -> Sequence[Any]:
    """The parameter as a list; empty for any other type, which the endpoint will refuse."""
    value = params.get(name)
    return value if isinstance(value, list | tuple) else ()


def _server_tool(tool: object) -> bool:
    return isinstance(tool, Mapping) and str(tool.get("type", "")).startswith("openrouter:")


@dataclass(slots=True)
class RequestTraits:
    """The properties of a request that the state machine needs.

    `slow`: uses reasoning, images or plugins, or has a very long prompt; `needs`: required abilities; `own_providers`:
    the caller chose the providers; `continues`: another model may continue delivered text; `idempotent`: two models may
    be called at once; `bounded`: the caller limits the answer's length; `size`: the class of the prompt's length, 0
    (below 4,000 tokens) to 3 (128,000).
    """

    slow: bool = False
    needs: frozenset[str] = frozenset()
    own_providers: bool = False
    continues: bool = False
    idempotent: bool = True
    bounded: bool = False
    size: int = 0
