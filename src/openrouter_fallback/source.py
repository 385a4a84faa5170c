"""What was read from a file that people write: plain data, the line of each value, and the mistakes so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

Path = tuple[str | int, ...]
"""Where a value stands: keys of mappings and positions in lists, from the root."""


class Mistake(NamedTuple):
    """One mistake: where, and what to read there."""

    path: Path
    text: str


@dataclass(frozen=True)
class Source:
    """Where data came from. For YAML: the line of each path, and scalars that are no strings as they were written."""

    name: str
    data: object = None
    lines: Mapping[Path, int] = field(default_factory=dict)
    texts: Mapping[Path, str] = field(default_factory=dict)
    mistakes: Sequence[Mistake] = ()

    def line(self, path: Path) -> int | None:
        """The line of `path`, or of the nearest thing around it that has one."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path)


def quote(text: str) -> str:
    """How to write a scalar that YAML takes for something else."""
    return "'" + text.replace("'", "''") + "'"
