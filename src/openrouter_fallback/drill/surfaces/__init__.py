"""Who calls the models: the core's client, or a framework over it. One module each, chosen by name."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

from ... import FallbackClient, FallbackConfig

SURFACES = ("core", "langchain", "llamaindex")

QUESTION = "Is anybody there?"
TOOL, WORD, FOUND = "look_up", "harbour", "It is where ships are safe."
TASK = f'Use {TOOL} to find "{WORD}", then answer.'
MOST_TURNS = 4


class SurfaceMissing(ImportError):
    """What a surface needs is not installed; the message says how to install it."""


@dataclass(frozen=True, slots=True)
class Seamed:
    """Where a second model went on: after `offset` characters."""

    offset: int
    before: str
    after: str
    how: str


@dataclass(frozen=True, slots=True)
class Said:
    """What a caller got: the text, the words that its tool was called with, and where the text was joined."""

    text: str
    looked_up: tuple[str, ...] = ()
    seams: tuple[Seamed, ...] = ()


class Surface(Protocol):
    """One caller, made from a configuration; used by several threads at a time."""

    @property
    def client(self) -> FallbackClient:
        """The core's client under it, whose events and health are read."""
        ...

    def chat(self, prompt: str) -> Said:
        """Ask for a whole answer."""
        ...

    def stream(self, prompt: str) -> Said:
        """Ask for a stream, and read it to its end."""
        ...

    def agent(self, prompt: str) -> Said:
        """Let an agent with the tool `look_up` do what the prompt says."""
        ...

    def close(self) -> None:
        """Close idle connections."""
        ...


def open_surface(name: str, config: FallbackConfig) -> Surface:
    """The surface of that name; `SurfaceMissing` where its extra is not installed."""
    try:
        module = import_module(f"{__name__}.{name}")
    except ImportError as error:
        raise SurfaceMissing(f'{name} is not installed: pip install "openrouter-fallback[{name}]"') from error
    surface: Surface = module.open_surface(config)
    return surface
