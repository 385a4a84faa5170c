"""What all tests share: the environment they run in, an emulator with a client, and what is printed at the end."""

from __future__ import annotations

import gc
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import hypothesis
import pytest

from openrouter_fallback import FallbackClient
from openrouter_fallback.emulator import Emulator

from .cases.matrix import FIRST, FIRST_TEXT, SECOND, SECOND_TEXT
from .support.clients import KEY, client_for
from .support.rawserver import RawServer

Matrix = dict[str, dict[str, str]]
_MATRIX = pytest.StashKey[Matrix]()
Seams = dict[str, Counter[bool]]
_SEAMS = pytest.StashKey[Seams]()
Latencies = dict[str, list[float]]
_LATENCIES = pytest.StashKey[Latencies]()

hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


def pytest_configure() -> None:
    """A shell's background job ignores interrupts, and so would the processes that tests start and interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """What was imported and collected stays: no garbage collection, of which tests ask for many, looks at it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the developer's own shell says about OpenRouter must not reach a test, nor what lies in a user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "empty-cache"))
    for name in ("API_BASE", "API_KEY", "APP_TITLE", "APP_URL", "BASE_URL", "FALLBACK_CONFIG", "SESSION_ID"):
        monkeypatch.delenv(f"OPENROUTER_{name}", raising=False)


@pytest.fixture(scope="module")
def served() -> Iterator[Emulator]:
    """One emulator for a module, strict about histories; `emulator` is how a test of it finds that."""
    with Emulator(api_key=KEY, strict=True) as emulator:
        yield emulator


@pytest.fixture
def emulator(served: Emulator) -> Emulator:
    """Without faults, at once; FIRST and SECOND say each their own. Modules have others of this name."""
    served.clear()
    served.pace(latency=0.0, token_interval=0.0)
    served.reply(text=FIRST_TEXT, model=FIRST)
    served.reply(text=SECOND_TEXT, model=SECOND)
    return served


@pytest.fixture(scope="module")
def shared(served: Emulator) -> Iterator[FallbackClient]:
    with client_for(served.base_url) as client:
        yield client


@pytest.fixture
def client(shared: FallbackClient) -> FallbackClient:
    """A client of FIRST, SECOND that has learnt nothing yet."""
    shared.reset()
    return shared


@pytest.fixture
def raw() -> Iterator[RawServer]:
    """A server that answers what it is told to, byte by byte."""
    with RawServer() as server:
        yield server


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The directory in which lists of models are kept; it does not exist yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "openrouter-fallback"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    """Writes a configuration file."""

    def to_file(content: str | bytes) -> Path:
        path = tmp_path / "fallback.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return to_file


@pytest.fixture(scope="session")
def fault_matrix(pytestconfig: pytest.Config) -> Matrix:
    """Row -> column -> what came of it."""
    return pytestconfig.stash.setdefault(_MATRIX, {})


@pytest.fixture(scope="session")
def lost_seams(pytestconfig: pytest.Config) -> Seams:
    """Behaviour of a model -> of the seams that were tried at random, how many were lost (True)."""
    return pytestconfig.stash.setdefault(_SEAMS, {})


@pytest.fixture(scope="session")
def latencies(pytestconfig: pytest.Config) -> Latencies:
    """State of Redis -> seconds of the calls made meanwhile."""
    return pytestconfig.stash.setdefault(_LATENCIES, {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the fault matrix and the share of lost seams, if their tests ran."""
    seams = config.stash.get(_SEAMS, {})
    if seams:
        terminalreporter.section("random seams: how many raise because nobody can tell where the text joins")
        for name, lost in sorted(seams.items()):
            terminalreporter.write_line(
                f"{name:30} {lost[True]:5} of {lost.total():5}  {lost[True] / lost.total():6.1%}"
            )
    latencies = config.stash.get(_LATENCIES, {})
    if latencies:
        terminalreporter.section("calls while something becomes of Redis: milliseconds, none is lost")
        for name, seconds in latencies.items():
            p50, p99 = (sorted(seconds)[int(share * (len(seconds) - 1))] * 1000 for share in (0.5, 0.99))
            terminalreporter.write_line(f"{name:24} {len(seconds):5} calls  p50 {p50:6.1f}  p99 {p99:6.1f}")
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
