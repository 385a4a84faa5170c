"""The options that several commands share."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

CONFIG_ENV = "OPENROUTER_FALLBACK_CONFIG"
CONFIG_FILE = Path("fallback.yaml")
"""What `init` writes and `check` reads where nothing else is named."""

Models = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", metavar="ID", help="A model; several in the order of the chain."),
]
Config = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", envvar=CONFIG_ENV, help="A YAML configuration.")
]
Task = Annotated[str | None, typer.Option(metavar="NAME", help="Use the chain of this task.")]
MaxCostTier = Annotated[str | None, typer.Option(metavar="TIER", help="Use no model above this cost tier.")]
MaxPrice = Annotated[
    float | None,
    typer.Option(min=0, metavar="USD", help="Use no model that costs more per million tokens, in or out."),
]
PrimaryProvider = Annotated[str | None, typer.Option(metavar="NAME", help="Put this provider's models first.")]
BaseUrl = Annotated[str | None, typer.Option(metavar="URL", help="Where OpenRouter is, if not at openrouter.ai.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else.")]
Offline = Annotated[bool, typer.Option("--offline", help="Make no calls: use the list of models kept on this machine.")]


class Sort(StrEnum):
    """The orders of a list of models."""

    PRICE = "price"
    CONTEXT = "context"
    ID = "id"


class Surface(StrEnum):
    """Who calls in a drill."""

    CORE = "core"
    LANGCHAIN = "langchain"
    LLAMAINDEX = "llamaindex"


class FailOn(StrEnum):
    """The verdicts on which a drill fails."""

    DEGRADED = "degraded"
    FAILED = "failed"


def token_count(text: str | int) -> int:
    """A number of tokens, as 200000, 200k or 1M."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmM]?)", str(text))
    if found is None:
        raise typer.BadParameter(f"{text!r} is no number of tokens, such as 200000, 200k or 1M")
    return int(float(found[1]) * {"": 1, "k": 1000, "m": 1_000_000}[found[2].lower()])
