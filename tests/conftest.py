"""What all tests share: the environment they run in, and the fault matrix printed at their end."""

from __future__ import annotations

from collections.abc import Mapping

import hypothesis
import pytest

Matrix = dict[str, dict[str, str]]
_MATRIX = pytest.StashKey[Matrix]()

hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer's own shell says about OpenRouter must not reach a test."""
    for name in ("OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "OPENROUTER_FALLBACK_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def fault_matrix(pytestconfig: pytest.Config) -> Matrix:
    """Row -> column -> what came of it."""
    return pytestconfig.stash.setdefault(_MATRIX, {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the fault matrix, if its tests ran."""
    matrix = config.stash.get(_MATRIX, {})
    if matrix:
        terminalreporter.section("fault matrix: the first model is faulty, the second is healthy")
        terminalreporter.write_line("Each cell: who answered or what was raised, and the requests to first + second.")
        for line in _table(matrix):
            terminalreporter.write_line(line)


def _table(matrix: Mapping[str, Mapping[str, str]]) -> list[str]:
    columns = list(dict.fromkeys(column for cells in matrix.values() for column in cells))
    rows = [["", *columns], *([row, *(cells.get(column, "") for column in columns)] for row, cells in matrix.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
