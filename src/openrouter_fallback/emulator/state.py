"""The state that the emulator's methods set and its server reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from .answers.completion import Script
from .faults.schedule import Schedule
from .http.log import RequestLog
from .http.player import Pace
from .models.money import Account, PromptCache
from .models.registry import Models


@dataclass(slots=True)
class State:
    """The state of one emulator. Each change replaces one value, so no lock is needed."""

    api_key: str
    models: Models
    log: RequestLog
    schedule: Schedule
    account: Account
    dice: Random
    comments: int = 1
    coalesce: bool = False
    strict: bool = False
    seed: int = 0
    scripts: dict[str | None, Script] = field(default_factory=dict)
    paces: dict[str | None, Pace] = field(default_factory=dict)
    cache: PromptCache = field(default_factory=PromptCache)
    health: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    stopping: bool = False

    def pace(self, model: str | None) -> Pace:
        """The pace of a model, else the pace of all models."""
        return self.paces.get(model) or self.paces.get(None) or Pace()
