"""The surfaces through which a drill calls models: the core's client or a framework. One module for each surface."""

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
    """A surface's package is not installed. The message names the command that installs it."""


@dataclass(frozen=True, slots=True)
class Seamed:
    """A seam: another model continued the text after `offset` characters."""

    offset: int
    before: str
    after: str
    how: str


@dataclass(frozen=True, slots=True)
class SurfaceAnswer:
    """The result of a call: the text, the words with which the tool was called, and the seams of the text."""

    text: str
    looked_up: tuple[str, ...] = ()
    seams: tuple[Seamed, ...] = ()


class Surface(Protocol):
    """A caller with its own configuration. Several threads may use a surface at the same time."""

    @property
    def client(self) -> FallbackClient:
        """The core's client of this surface. The drill reads its events and its health."""
        ...

    def chat(self, prompt: str) -> SurfaceAnswer:
        """Make a call that is not streamed."""
        ...

    def stream(self, prompt: str) -> SurfaceAnswer:
        """Make a streamed call, and read the stream to its end."""
        ...

    def agent(self, prompt: str) -> SurfaceAnswer:
        """Run an agent with the tool `look_up` on the prompt."""
        ...

    def close(self) -> None:
        """Close idle connections."""
        ...


def open_surface(name: str, config: FallbackConfig) -> Surface:
    """The surface with this name. Raises `SurfaceMissing` if its extra is not installed."""
    try:
        module = import_module(f"{__name__}.{name}")
    except ImportError as error:
        raise SurfaceMissing(f'{name} is not installed: pip install "openrouter-fallback[{name}]"') from error
    surface: Surface = module.open_surface(config)
    return surface
