"""A tool, and a schema as pydantic and as a typed dictionary."""

from __future__ import annotations

from typing import Any, TypedDict

from langchain_core.tools import tool
from pydantic import BaseModel

from openrouter_fallback.emulator import Emulator


@tool
def find(query: str, limit: int = 3) -> str:
    """Find something."""
    return query


class Found(BaseModel):
    """What was found."""

    number: int


class Typed(TypedDict):
    """What was found."""

    number: int


def body(emulator: Emulator) -> dict[str, Any]:
    return dict(emulator.log[-1].body)
