"""The page about troubleshooting quotes what is really said, and leaves out nothing that these cases make happen."""

from __future__ import annotations

import logging
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openrouter_fallback import FallbackClient, load_config
from openrouter_fallback.call.error_messages import NEXT_STEP
from openrouter_fallback.emulator import MODELS, Emulator
from openrouter_fallback.failures.kinds import TransportFault
from openrouter_fallback.failures.signs import TRANSPORT

from ..cases.messages import COMMANDS, DEEDS, FILES, MISSING, NOTHING_THERE, OUTAGES, WITH_A_KEY, A, fail
from ..support.commands import run
from ..support.pages import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^\| `` ?(.+?) ?`` \|", PAGE, re.MULTILINE) + re.findall(r"^\| `([^`].*?)` \|", PAGE, re.MULTILINE)
UNSEEN = {
    TransportFault.NOT_CONNECTED,
    TransportFault.DNS,
    TransportFault.TLS,
    TransportFault.PROXY,
    TransportFault.UNDECODABLE,
    TransportFault.OVERSIZED,
    TransportFault.POOL_EXHAUSTED,
    TransportFault.NO_FILES,
    TransportFault.LOOP_CLOSED,
    TransportFault.OUR_BUG,
}
"""What takes another network to happen, as `tests/test_failures.py` shows it: here the words are the table's."""


ASIDE = re.compile(
    r"Next step: |  spent today: |Usage: |Try '|  openrouter-fallback check|[^:]+: answered|"
    r"(?:failed|answered) +\S+ |\S+ answers: "
)
"""Lines that explain the one before them."""

FOUND = re.compile(r"^(?:problem|warning) .*$", re.MULTILINE)


def pattern(quoted: str) -> re.Pattern[str]:
    return re.compile(r"[\s\S]*?".join(re.escape(part) for part in re.split(r" ?… ?", quoted)))


PATTERNS = {quoted: pattern(quoted) for quoted in QUOTED}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Case -> everything that its user reads, log lines included."""
    folder = tmp_path_factory.mktemp("said")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder))
        for name in ("OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "OPENROUTER_FALLBACK_CONFIG"):
            patch.delenv(name, raising=False)
        yield {
            **{f"outage: {name}": _outage(name) for name in OUTAGES},
            **{f"file: {name}": _file(folder, text) for name, text in FILES.items()},
            **{f"deed: {name}": _deed(name) for name in DEEDS},
            **{f"command: {' '.join(command)}": text for command, text in _commands(folder)},
            **{f"missing: {name}": _missing(name, code) for name, code in MISSING.items()},
            **{f"wire: {fault}": ": ".join(TRANSPORT[fault]) for fault in UNSEEN},
        }


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __enter__(self) -> _Log:
        logging.getLogger("openrouter_fallback").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("openrouter_fallback").removeHandler(self)


def _outage(name: str) -> str:
    told = ""
    with Emulator(MODELS) as emulator, _Log() as log:
        try:
            fail(OUTAGES[name], emulator)
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
    # What is answered all the same, as a last resort, is said in the log.
    assert told or "no model did better" in log.lines[-1], name
    return "\n".join([told, *log.lines])


def _file(folder: Path, text: str) -> str:
    (folder / "fallback.yaml").write_text(text)
    with pytest.raises(Exception) as caught:
        load_config("fallback.yaml")
    return str(caught.value)


def _deed(name: str) -> str:
    told = ""
    with (
        Emulator(MODELS) as emulator,
        _Log() as log,
        FallbackClient([A], base_url=emulator.base_url, api_key=emulator.api_key) as client,
    ):
        try:
            DEEDS[name](client)
        except Exception as error:
            told = str(error)
    assert told or log.lines, name
    return "\n".join([told, *log.lines])


def _commands(folder: Path) -> Iterator[tuple[tuple[str, ...], str]]:
    (folder / "fallback.yaml").unlink()
    for command in NOTHING_THERE:
        done = run(*command)
        assert done.exit_code == (0 if command == ("route",) else 2), command
        yield ("where nothing is", *command), done.stderr
    (folder / "fallback.yaml").write_text("fallback: {default_chain: [a/b]}")
    (folder / "script.yaml").write_text("faults: [{kind: rate_limit}]")
    store = "settings: {health_store: 'redis://127.0.0.1:9'}"
    (folder / "redis.yaml").write_text(f"fallback: {{default_chain: [a/b], {store}}}")
    (folder / "keys.yaml").write_text("keys: [{name: web, key: short}]")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        serve = ("serve", "-c", "fallback.yaml", "--port", port)
        for command in [*COMMANDS, ("emulate", "--port", port), serve]:
            done = run(*command)
            assert done.exit_code in (1, 2), command
            yield tuple(command), "\n".join(FOUND.findall(done.output)) if "redis.yaml" in command else done.output
    with Emulator(MODELS) as emulator, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENROUTER_BASE_URL", emulator.base_url)
        for key, command in WITH_A_KEY:
            patch.setenv("OPENROUTER_API_KEY", emulator.api_key if key is None else key)
            text = run(*command).output
            yield (key or "", *command), "\n".join(FOUND.findall(text)) if command[0] == "check" else text


def _missing(name: str, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.modules[{name!r}] = None; {code}"], capture_output=True, text=True
    )
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("quoted", QUOTED)
def test_what_is_quoted_is_said(quoted: str, said: dict[str, str]) -> None:
    assert [name for name, text in said.items() if PATTERNS[quoted].search(text)], quoted


def test_what_is_said_is_quoted(said: dict[str, str]) -> None:
    lines = {line for text in said.values() for line in text.splitlines() if line.strip() and not ASIDE.match(line)}
    assert sorted(line for line in lines if not any(one.search(line) for one in PATTERNS.values())) == []


def test_every_next_step_comes_up(said: dict[str, str]) -> None:
    assert [kind for kind, step in NEXT_STEP.items() if not any(step in text for text in said.values())] == ["local"]


def test_nothing_is_quoted_twice() -> None:
    assert len(set(QUOTED)) == len(QUOTED)
