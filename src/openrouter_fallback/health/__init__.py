"""Health: windows, breakers, cooldowns, and what was learnt about models."""

from .admission import READY, Availability, AvailabilityStatus, HealthScopes, Permit
from .breaker import Rules, State
from .memory import MemoryHealth, ModelHealth
from .shared.fleet import SharedHealth
from .shared.protocol import HealthStore
from .tracker import HealthTracker

__all__ = [
    "READY",
    "Availability",
    "AvailabilityStatus",
    "HealthScopes",
    "HealthStore",
    "HealthTracker",
    "MemoryHealth",
    "ModelHealth",
    "Permit",
    "Rules",
    "SharedHealth",
    "State",
]
