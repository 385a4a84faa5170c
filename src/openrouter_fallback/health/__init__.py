"""Health: windows, breakers, cooldowns, and what was learnt about models."""

from .breaker import Rules, State
from .memory import READY, Gate, MemoryHealth, ModelHealth, Standing, Target, Ticket
from .tracker import HealthTracker

__all__ = [
    "READY",
    "Gate",
    "HealthTracker",
    "MemoryHealth",
    "ModelHealth",
    "Rules",
    "Standing",
    "State",
    "Target",
    "Ticket",
]
