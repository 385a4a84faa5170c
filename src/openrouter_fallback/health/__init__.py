"""Health: windows, breakers, cooldowns, and facts learnt about models."""

from .admission import READY, Availability, AvailabilityStatus, HealthScopes, ModelHealth, Permit
from .breaker import Rules, State
from .changes import BreakerChange
from .learnt import Fact, Learnt, LearntFacts
from .memory import MemoryHealth
from .shared.fleet import SharedHealth
from .shared.protocol import HealthStore
from .tracker import HealthTracker

__all__ = [
    "READY",
    "Availability",
    "AvailabilityStatus",
    "BreakerChange",
    "Fact",
    "HealthScopes",
    "HealthStore",
    "HealthTracker",
    "Learnt",
    "LearntFacts",
    "MemoryHealth",
    "ModelHealth",
    "Permit",
    "Rules",
    "SharedHealth",
    "State",
]
