"""The health tracker of the well-known recipe: one sliding window per model, nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable

from .window import Window


class HealthTracker:
    """Success rates of models over the last `window_minutes`.

    The window moves in steps of 1/20. `clock` returns seconds and must not go backwards. Not shared between processes.
    """

    def __init__(self, window_minutes: float = 10, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = window_minutes * 60.0
        self._clock = clock
        self._windows: dict[str, Window] = {}

    def record_success(self, model: str) -> None:
        """Count a success of `model` now."""
        self._window(model).good(self._clock())

    def record_failure(self, model: str) -> None:
        """Count a failure of `model` now."""
        self._window(model).bad(self._clock())

    def get_success_rate(self, model: str) -> float:
        """Share of successes in the window, 0.0 to 1.0; 1.0 without data."""
        window = self._windows.get(model)
        return window.rate(self._clock()) if window else 1.0

    def should_skip(self, model: str, threshold: float = 0.3, *, min_samples: int = 0) -> bool:
        """Whether the rate lies below `threshold`; with `min_samples`, only if there are at least so many outcomes."""
        window = self._windows.get(model)
        if window is None:
            return False
        now = self._clock()
        return sum(window.counts(now)) >= min_samples and window.rate(now) < threshold

    def _window(self, model: str) -> Window:
        window = self._windows.get(model)
        if window is None:
            window = self._windows[model] = Window(self._seconds)
        return window
