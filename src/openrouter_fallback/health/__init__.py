"""Health: windows, breakers, cooldowns, and what was learnt about models."""

from .breaker import Rules, State
from .fleet import SharedHealth
from .memory import READY, Gate, MemoryHealth, ModelHealth, Standing, Target, Ticket
from .store import HealthStore
from .tracker import HealthTracker

__all__ = [
    "READY",
    "Gate",
    "HealthStore",
    "HealthTracker",
    "MemoryHealth",
    "ModelHealth",
    "Rules",
    "SharedHealth",
    "Standing",
    "State",
    "Target",
    "Ticket",
]
