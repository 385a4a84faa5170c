"""The design's rules as timelines of the machine: the exact requests, waits, outcome and health of each."""

from __future__ import annotations

from .breakers import BESIDE_PROBES, BREAKERS, RECIPES_MANAGER, VERDICTS
from .streams import GOING_ON, STREAMS
from .times import OVERDUE, TIMES
from .waiting import NONE_LEFT

TABLE = [*NONE_LEFT, *OVERDUE, *TIMES, *BREAKERS, *BESIDE_PROBES, *VERDICTS, *RECIPES_MANAGER, *STREAMS, *GOING_ON]
