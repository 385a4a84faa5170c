"""What is known of a configuration without asking a model: what each chain is for, whether its models fit. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from ... import FallbackConfig, ModelInfo
from ...suggest import did_you_mean

Level = Literal["problem", "warning", "note"]
"""The worse first. A note says what was not looked at, as asked for; it never fails a check."""
LEVELS: tuple[Level, ...] = ("problem", "warning", "note")

OPENROUTER = "openrouter"
SOON_DAYS = 30
"""From here on an expiry date is worth a warning."""

# A chain's name as its author's word for what it is for, as the beginning of one of its words. Names that may as well
# mean what comes out (image, speech) are not here.
_PURPOSES: tuple[tuple[str, frozenset[str]], ...] = (
    (r"cod(e|ing)|program|agent|tool|function", frozenset({"tools"})),
    (r"json|extract|schema|structured|classif", frozenset({"structured_outputs"})),
    (r"vision|ocr|screenshot|multimodal", frozenset({"image"})),
    (r"transcri", frozenset({"audio"})),
    (r"reason|think|math", frozenset({"reasoning"})),
)

_WORDS = {
    "tools": "call tools",
    "structured_outputs": "follow a JSON schema",
    "response_format": "be held to JSON",
    "reasoning": "reason",
}
NEEDS = (*_WORDS, "image", "audio", "file", "video")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, or will be: with what, what it is, and the next step."""

    level: Level
    about: str
    text: str
    step: str


@dataclass(frozen=True, slots=True)
class Chain:
    """A list of models that calls choose from; `kind` is the key of the configuration it stands under."""

    kind: str
    name: str
    models: tuple[str, ...]


def chains(config: FallbackConfig) -> tuple[Chain, ...]:
    """All chains, in the order of the schema."""
    named: list[tuple[str, str, tuple[str, ...]]] = []
    if config.default_chain:
        named.append(("default_chain", "default", config.chain()))
    named += [("task_chains", name, config.chain(name)) for name in config.task_chains]
    tiers = ((name, config.by_priority(config.cost_tiers.get(name, ()))) for name in config.tiers())
    named += [("cost_tiers", name, models) for name, models in tiers if models]  # none are listed under `auto`
    return tuple(Chain(*one) for one in named)


def purpose(name: str) -> frozenset[str]:
    """What the name of a chain says that its models must be able to do."""
    return frozenset().union(*(needs for words, needs in _PURPOSES if re.search(f"(?<![a-z])({words})", name.lower())))


def misfits(
    id: str, model: ModelInfo, chains: Iterable[Chain], needs: Iterable[str], params: Mapping[str, Any]
) -> Iterator[Finding]:
    """What the model is known not to be able to do, though its settings, the user or a chain's name ask for it."""
    for need in sorted({*needs, *(name for name in params if name in _WORDS and params[name])}):
        if model.can(need) is False:
            yield Finding("problem", id, f"cannot {_can(need)}", f"Models that can: {_search(need)}")
    listed = model.parameters or frozenset()
    for name in params:
        meant = "" if name in listed else did_you_mean(name, sorted(listed), 0.85)
        if meant:
            yield Finding("warning", id, f"does not list the parameter {name!r}", meant.strip())
    for chain in chains:
        for need in sorted(purpose(chain.name)):
            if id in chain.models and model.can(need) is False:
                said = f"cannot {_can(need)}, which the name of the chain {chain.name!r} suggests"
                yield Finding("warning", id, said, f"Models that can: {_search(need)}")


def _can(need: str) -> str:
    return _WORDS.get(need, f"take {need} input")


def _search(need: str) -> str:
    return f"openrouter-fallback models --can {need}"


def expiry(model: ModelInfo, today: date) -> tuple[Level, str] | None:
    """Whether the model is gone or going soon."""
    if model.expires is None:
        return None
    days = (model.expires - today).days
    if days < 0:
        return "problem", f"expired on {model.expires}"
    return ("warning", f"expires on {model.expires}, in {days} days") if days <= SOON_DAYS else None
