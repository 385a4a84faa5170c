"""What to put in the place of a model id that does not exist: the one that was meant, or the newest of its family.

Ids alone decide: the words in them are the family, the numbers its age and size.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from ... import ModelInfo
from .audit import OPENROUTER
from .costs import per_million, usd

_ALIKE = 88  # of 100: from here on an id is taken for a misspelling
_FARTHEST = 2.0  # words by which a successor's family may differ
_PAID_FOR_FREE = 1.0  # words by which a paid model is farther from a free one that is gone

_DATE = re.compile(r"(?<!\d)(20\d\d)-?([01]\d)-?([0-3]\d)(?!\d)|(?<![\d.])(\d{4})(?![\d.])")
_SIZE = re.compile(r"(?:(\d+)x)?(\d+(?:\.\d+)?)b")
_WORD_AND_VERSION = re.compile(r"([a-z]*?)v?(\d+(?:\.\d+)*)([a-z]*)")

# Words that tell nothing about whose place a model can take.
_NOISE = {"", "it", "exp", "beta", "chat", "instruct", "latest", "preview", "turbo", "experimental"}

# Families that went on under another name.
_RENAMED = {
    "anthropic/claude-instant": "anthropic/claude-haiku",
    "anthropic/claude-2": "anthropic/claude-sonnet",
    "google/palm": "google/gemini-flash",
    "mistralai/mixtral": "mistralai/mistral-small",
    "openai/gpt-3.5": "openai/gpt-mini",
}


@dataclass(frozen=True, slots=True)
class Name:
    """A model id taken apart; `size` in billions of parameters, 0 if it is not in the id."""

    author: str
    words: frozenset[str]
    version: tuple[int, ...]
    date: tuple[int, ...]
    size: float
    free: bool


@cache
def name(id: str) -> Name:
    """What an id says about its model."""
    whole, _, variant = id.lower().partition(":")
    renamed = next((new for old, new in _RENAMED.items() if whole.startswith(old)), None)
    author, _, rest = (renamed or whole).lstrip("~").rpartition("/")
    date: tuple[int, ...] = ()
    if found := _DATE.search(rest):
        date = tuple(int(part) for part in found.groups() if part)
        rest = rest.replace(found[0], "")
    words: set[str] = set()
    version: tuple[int, ...] = ()
    size = 0.0
    for part in re.split(r"[-_/ ]+", rest):
        if sized := _SIZE.fullmatch(part):
            size = int(sized[1] or 1) * float(sized[2])
        elif numbered := _WORD_AND_VERSION.fullmatch(part):
            words |= {numbered[1], numbered[3].removeprefix("o")}  # gpt-4o is of the gpt family
            version = version or tuple(int(number) for number in numbered[2].split("."))
        else:
            words.add(part)
    return Name(author, frozenset(words - _NOISE), version, date, size, variant == "free")


def replacement(endpoint: str, id: str, living: Sequence[ModelInfo]) -> str:
    """What to do about a model that its endpoint does not have (any more), in a sentence with the new one's prices."""
    there = {one.id: one for one in living}
    spelt, newest = meant(id, there), successor(id, there)
    if spelt is None and newest is None:
        search = f" {id.partition('/')[0]}" if any(one.startswith(f"{id.partition('/')[0]}/") for one in there) else ""
        of = "" if endpoint == OPENROUTER else f" --endpoint {endpoint}"
        return f"No similar model exists; see openrouter-fallback models{search}{of}"
    parts = [f"Did you mean {spelt} {_priced(there[spelt])}?"] if spelt is not None else []
    if newest is not None and newest != spelt:
        parts.append(f"The newest of its family: {newest} {_priced(there[newest])}")
    return " ".join(parts)


def _priced(model: ModelInfo) -> str:
    prices = [usd(per_million(price)) for price in (model.prompt_price, model.completion_price)]
    return f"({prices[0]}/{prices[1]} per 1M tokens)"


def meant(id: str, existing: Iterable[str]) -> str | None:
    """The id that was misspelt; another version or size is another model, `gpt-51` for `gpt-5.1` is not."""
    from rapidfuzz import fuzz, process

    existing = list(existing)
    squeezed = [one for one in existing if _squeezed(one) == _squeezed(id)]
    if squeezed:
        return squeezed[0]
    numbers = _numbers(id)
    alike = {one: _spelt(one) for one in existing if _numbers(one) == numbers}
    found = [
        process.extractOne(_spelt(id), alike, scorer=scorer, score_cutoff=_ALIKE)
        for scorer in (fuzz.ratio, fuzz.token_sort_ratio)
    ]
    best = max((one for one in found if one is not None), key=lambda one: one[1], default=None)
    return best[2] if best is not None else None


def successor(id: str, existing: Iterable[str]) -> str | None:
    """The newest of the model's family, of like size; None if its author has nothing that is like it."""
    gone = name(id)
    family = [(far, one) for one in existing if one != id and (far := _distance(gone, name(one))) <= _FARTHEST]
    return min(family, key=lambda pair: _rank(gone, *pair))[1] if family else None


def _distance(gone: Name, other: Name) -> float:
    """In words; what the other has beyond the family makes it more of another model than what it lacks."""
    if gone.author != other.author or not gone.words & other.words or (other.free and not gone.free):
        return math.inf
    words = len(gone.words - other.words) + 1.5 * len(other.words - gone.words)
    return words + _PAID_FOR_FREE * (gone.free and not other.free)


def _rank(gone: Name, far: float, id: str) -> tuple[object, ...]:
    size = name(id).size
    resized = abs(math.log(size / gone.size)) if gone.size and size else float(bool(gone.size))
    # Half a size more or less is the same class of model; between these the newer one is better.
    return far, round(resized), newest_first(id)


def newest_first(id: str) -> tuple[object, ...]:
    """Sorts the models of one family: by version, date and size, falling, then by id."""
    one = name(id)
    version = [-number for number in (*one.version, 0, 0, 0)[:3]]
    return version, [-number for number in one.date], -one.size, len(id), id


def _spelt(id: str) -> str:
    return re.sub(r"[-_/:. ]+", " ", id.lower())


def _squeezed(id: str) -> str:
    return re.sub(r"[^a-z0-9]", "", id.lower())


def _numbers(id: str) -> list[str]:
    return sorted(re.findall(r"\d+", id))
