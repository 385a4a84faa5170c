"""The progress of a running drill: a live view in a terminal, else one line for each scenario."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from string import ascii_uppercase

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..runner import Progress, Watch
from .report import VERDICT

_STATES = {"closed": "green", "open": "bold red", "half_open": "magenta", "cooldown": "yellow"}
_BAR = 30
_PER_SECOND = 8


@contextmanager
def watching(console: Console) -> Iterator[Watch]:
    """A `watch` function for `run_drill`, which shows the progress on a console."""
    if not console.is_terminal:
        yield lambda progress: _line(progress, console)
        return
    view = _View()
    with Live(view, console=console, refresh_per_second=_PER_SECOND, transient=True):
        yield view.tell


def _line(progress: Progress, console: Console) -> None:
    result = progress.result
    if result is None and progress.skipped is None:
        return
    words = f"[{progress.number}/{progress.of}] {progress.scenario.title}: "
    if result is None:
        words += f"skipped, {progress.skipped}"
    else:
        ours, plain = result.with_failover, result.without_failover
        words += f"{ours.answered}/{len(ours.calls)} answered, {plain.answered}/{len(plain.calls)} without failover"
        words += f", {VERDICT[result.verdict][0]}"
    console.print(Text(words), soft_wrap=True)


class _View:
    """The running scenario, the model that answers now, and the state of every breaker."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now: Progress | None = None
        self._serving: str | None = None
        self._answers: dict[str, int] = {}

    def tell(self, progress: Progress) -> None:
        """Update the view."""
        with self._lock:
            if self._now is None or self._now.scenario is not progress.scenario:
                self._answers = dict.fromkeys(self._answers, 0)
            if progress.states is None and self._now is not None:
                states = dict.fromkeys(self._now.states or (), "closed")
                progress = Progress(progress.scenario, progress.number, progress.of, states=states)
            self._now = progress
            self._serving = progress.serving
            for name in progress.states or ():
                self._answers.setdefault(name, 0)
            if progress.serving is not None:
                self._answers[progress.serving] = self._answers.get(progress.serving, 0) + 1

    def __rich__(self) -> RenderableType:
        with self._lock:
            now, serving, answers = self._now, self._serving, dict(self._answers)
        if now is None:
            return Text("The drill begins ...")
        head = Table.grid(padding=(0, 1))
        title = Text(now.scenario.title, "bold")
        count = f"{now.number}/{now.of}"
        head.add_row(ProgressBar(now.of, now.number, width=_BAR), count, title, f"{now.answered}/{now.done} answered")
        models = Table.grid(padding=(0, 2))
        for n, (name, state) in enumerate((now.states or {}).items()):
            letter = ascii_uppercase[n] if n < len(ascii_uppercase) else f"#{n + 1}"
            word = Text(state.replace("_", "-"), _STATES.get(state, ""))
            here = Text("◀ serves now", "bold cyan") if name == serving else ""
            models.add_row(letter, Text(name), word, f"answered {answers.get(name, 0)}", here)
        return Group(head, models)
