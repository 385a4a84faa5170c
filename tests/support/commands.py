"""The command line as its users have it: in this process through typer's runner, and as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from openrouter_fallback.cli.app import app

KEY = "sk-or-v1-0123456789abcdef0123456789abcdef"

_runner = CliRunner()


def run(*args: str | Path, **options: Any) -> Any:
    """A command in this process; the result has `exit_code`, `stdout` and `stderr`."""
    return _runner.invoke(app, [str(arg) for arg in args], **options)


def command(*args: str, before: str = "") -> list[str]:
    """What starts the command as a process; `before` is Python that runs first."""
    # A process started in the background by a shell ignores interrupts, and so do its children.
    interruptible = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    start = f"{interruptible}; {before or 'pass'}; from openrouter_fallback.cli import main; main()"
    return [sys.executable, "-c", start, *args]


def process(*args: str, before: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    """A command as a process, run to its end."""
    return subprocess.run(command(*args, before=before), capture_output=True, text=True, timeout=60, **options)
