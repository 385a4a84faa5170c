"""Scenarios: what happens to the models, who calls them meanwhile and how, and what is expected of it.

A scenario is a YAML file. Its `faults` and `pace` are the emulator's, with stand-ins for the models of whatever chain
is drilled: primary, second, third, last, others (all but the primary). `shipped/` holds those that come along.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import ConfigDict, Field

from .. import ConfigError, Settings
from ..emulator.script import Faults, Part, ScriptError, read_script
from .surfaces import SURFACES

Mode = Literal["chat", "stream", "agent", "long"]
SurfaceName = Literal["core", "langchain", "llamaindex"]

_STAND_INS = ("primary", "second", "third", "last", "others")
_Count = Annotated[int, Field(ge=1)]
_NotNegative = Annotated[float, Field(ge=0)]
_Positive = Annotated[float, Field(gt=0)]
_Share = Annotated[float, Field(ge=0, le=1)]


class Workload(Part):
    """Who calls, and how.

    `modes` by turns: chat, stream, agent (two calls with a tool between them), long (a prompt of `prompt_tokens`).
    `calls` in all, or calls for so many `seconds`; `pause` seconds after each, `concurrency` at a time. `calls_after`
    more are made once the primary may be tried again.
    """

    model_config = ConfigDict(frozen=True)

    surface: SurfaceName = "core"
    modes: Annotated[list[Mode], Field(min_length=1)] = Field(default=["chat", "stream"])
    calls: _Count = 12
    seconds: _Positive | None = None
    pause: _NotNegative = 0.0
    concurrency: Annotated[int, Field(ge=1, le=64)] = 1
    prompt_tokens: _Count = 20_000
    calls_after: Annotated[int, Field(ge=0)] = 0


class Expect(Part):
    """What is expected of the run with failover, and of the one without.

    `answered` is the least share of calls, `without_failover` whether none, all or any of them are answered by the
    primary alone. Seconds are above the healthy median of the same workload. `recovers`: the last call is answered by
    the primary again.
    """

    model_config = ConfigDict(frozen=True)

    answered: _Share = 1.0
    without_failover: Literal["none", "all", "any"] = "none"
    partial_answers: Annotated[int, Field(ge=0)] = 0
    requests_to_dead: Annotated[int, Field(ge=0)] = 0
    added_median_seconds: _Positive | None = None
    added_worst_seconds: _Positive | None = None
    cost_usd_per_call: _Positive | None = None
    recovers: bool = False


class Scenario(Faults):
    """One outage. `refused`: the primary's endpoint refuses connections. `settings` replace the user's for it."""

    model_config = ConfigDict(frozen=True)
    stand_ins: ClassVar[Sequence[str]] = _STAND_INS
    parts: ClassVar[Mapping[str, type[Part]]] = {**Faults.parts, "workload": Workload, "expect": Expect}

    name: str = ""
    title: str = ""
    description: str = ""
    refused: bool = False
    workload: Workload = Workload()
    expect: Expect = Expect()
    settings: dict[str, Any] = Field(default={})


HEALTHY = Scenario(
    name="healthy",
    title="healthy",
    description="Nothing fails: the baseline of the added latency.",
    expect=Expect(without_failover="all"),
)
"""The scenario without an outage."""


def read_scenario(path: str | os.PathLike[str]) -> Scenario:
    """The scenario of a YAML file; `ConfigError` with file, line and key of everything that is wrong with it."""
    try:
        read = read_script(path, Scenario)
    except ScriptError as error:
        raise ConfigError(str(error)) from None
    name = read.name or Path(path).stem
    scenario = read.model_copy(update={"name": name, "title": read.title or name})
    if scenario.models is not None:
        raise ConfigError(f"{path}, models: a scenario has the models of the chain that is drilled; remove the key.")
    if scenario.refused and scenario.workload.concurrency > 1:
        raise ConfigError(f"{path}, refused: refused connections need concurrency 1, so that each belongs to one call.")
    try:
        Settings(**scenario.settings)
    except (ConfigError, TypeError) as error:
        raise ConfigError(f"{path}, settings: {error}") from None
    return scenario


def shipped() -> tuple[Scenario, ...]:
    """The scenarios that come along, in the order of their files."""
    return tuple(read_scenario(path) for path in sorted((Path(__file__).parent / "shipped").glob("*.yaml")))


assert get_args(SurfaceName) == SURFACES  # noqa: S101 - a misspelt name is found by the first import
