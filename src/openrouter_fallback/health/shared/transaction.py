"""One Redis transaction whose answers have names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class Answers(Mapping[str, Any]):
    """The answers that were given a name; `refused` are the errors among all. An error stands for an answer too."""

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
        """The answer `name`, if there is one of that type; else None."""
        answer = self.get(name)
        return answer if isinstance(answer, of) else None


class Transaction:
    """Commands that are sent together: `transaction("now").time()` gives the answer of `TIME` the name `now`."""

    def __init__(self, pipe: Any) -> None:
        """`pipe` is redis-py's, and empty."""
        self._pipe = pipe
        self._named: dict[str, int] = {}

    def __call__(self, name: str | None = None) -> Any:
        """Where the next command goes, whose answer is called `name`."""
        if name is not None:
            self._named[name] = len(self._pipe)
        return self._pipe

    async def run(self) -> Answers:
        """Send them. Raises what the connection raises; an error of one command is its answer."""
        return Answers(self._named, await self._pipe.execute(raise_on_error=False))
