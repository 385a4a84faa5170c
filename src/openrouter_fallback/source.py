"""The content of a user's file: plain data, the line of each value, and the mistakes found so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

Path = tuple[str | int, ...]
"""The path to a value from the root: keys of mappings and indexes of lists."""


class Mistake(NamedTuple):
    """One mistake: its path and its message."""

    path: Path
    text: str


@dataclass(frozen=True)
class Source:
    """Data and its origin. For YAML: the line of each path, and the original text of scalars that are not strings."""

    name: str
    data: object = None
    lines: Mapping[Path, int] = field(default_factory=dict)
    texts: Mapping[Path, str] = field(default_factory=dict)
    mistakes: Sequence[Mistake] = ()

    def line(self, path: Path) -> int | None:
        """The line of `path`, else of its nearest parent with a known line."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path)


def quote(text: str) -> str:
    """The text as a quoted YAML string."""
    return "'" + text.replace("'", "''") + "'"
