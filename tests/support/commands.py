"""Runs the command line: in this process with typer's runner, or as a new process."""

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
    """Run a command in this process. The result has `exit_code`, `stdout` and `stderr`."""
    return _runner.invoke(app, [str(arg) for arg in args], **options)


def command(*args: str, before: str = "") -> list[str]:
    """The command line that runs a command as a process. `before` is Python code that runs first."""
    # A shell's background process ignores SIGINT, and so do its children. So the handler is set here.
    interruptible = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    start = f"{interruptible}; {before or 'pass'}; from openrouter_fallback.cli import main; main()"
    return [sys.executable, "-c", start, *args]


def process(*args: str, before: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command as a process, and wait for its end."""
    return subprocess.run(command(*args, before=before), capture_output=True, text=True, timeout=60, **options)
