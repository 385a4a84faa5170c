"""Scenarios: the faults of the models, the workload of calls, and the expected results.

A scenario is a YAML file. Its `faults` and `pace` have the form of the emulator's script. They name models by
stand-ins: primary, second, third, last, others (all but the primary). The folder `shipped/` has the scenarios of this
package.
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
    """The calls of a scenario.

    - `modes`: the kinds of calls, used in turn: chat, stream, agent (two calls with a tool between them), long (a
      prompt of `prompt_tokens`).
    - `calls`: the number of calls; with `seconds`, calls are made for so many seconds instead.
    - `pause`: seconds after each call. `concurrency`: the number of calls at a time.
    - `calls_after`: the number of further calls after the client no longer skips the primary.
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
    """The expected results.

    - `answered`: the lowest share (0 to 1) of answered calls, with failover.
    - `without_failover`: how many calls the primary alone answers: none, all or any.
    - `added_median_seconds`, `added_worst_seconds`: seconds above the median of the same workload without faults.
    - `recovers`: the primary answers the last call.
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
    """One outage. `refused`: the primary's endpoint refuses connections. `settings` replace the user's settings."""

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
    """Read a scenario from a YAML file. Raises `ConfigError` with file, line and key of every error."""
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
    """The scenarios of this package, in the order of their files."""
    return tuple(read_scenario(path) for path in sorted((Path(__file__).parent / "shipped").glob("*.yaml")))


assert get_args(SurfaceName) == SURFACES  # noqa: S101 - a misspelt name is found by the first import
