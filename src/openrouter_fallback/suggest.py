"""Did you mean: the nearest of the names that exist, for every message about one that does not."""

from __future__ import annotations

from collections.abc import Iterable

CLOSE = 0.6
"""The least likeness, 0 to 1, of a short list of names: keys, settings, tasks."""
VERY_CLOSE = 0.8
"""The least likeness of one name among thousands, such as the ids of a list of models."""


def nearest(word: str, options: Iterable[str], likeness: float = CLOSE) -> str | None:
    """The option that is most like `word`, case aside; None if none is."""
    from difflib import get_close_matches  # only mistakes need it, and it is slow to import

    by_lower = {option.lower(): option for option in options}
    found = get_close_matches(word.lower(), by_lower, n=1, cutoff=likeness)
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, options: Iterable[str], likeness: float = CLOSE) -> str:
    """The question " Did you mean '...'?", to be put behind a sentence; empty if no option is like `word`."""
    found = nearest(word, options, likeness)
    return "" if found is None else f" Did you mean {found!r}?"
