"""One Redis transaction whose answers have names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class Answers(Mapping[str, Any]):
    """The answers of the named commands. An error of a command is its answer; `refused` holds all errors."""

    def __init__(self, named: Mapping[str, int], answers: list[Any]) -> None:
        self._named = named
        self._answers = answers
        self.refused = [answer for answer in answers if isinstance(answer, Exception)]

    def __getitem__(self, name: str) -> Any:
        return self._answers[self._named[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)

    def good(self, name: str, of: type[Any]) -> Any:
        """The answer `name` if it has the type `of`, else None."""
        answer = self.get(name)
        return answer if isinstance(answer, of) else None


class Transaction:
    """Commands that are sent together: `transaction("now").time()` gives the answer of `TIME` the name `now`."""

    def __init__(self, pipe: Any) -> None:
        """`pipe` is an empty pipeline of redis-py."""
        self._pipe = pipe
        self._named: dict[str, int] = {}

    def __call__(self, name: str | None = None) -> Any:
        """The pipeline for the next command; its answer gets `name`."""
        if name is not None:
            self._named[name] = len(self._pipe)
        return self._pipe

    async def run(self) -> Answers:
        """Send the commands. Raises the connection's errors; an error of one command is its answer."""
        return Answers(self._named, await self._pipe.execute(raise_on_error=False))
