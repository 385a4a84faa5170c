"""What all commands share: where they print, and how they end when something goes wrong."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from rich.console import Console

    from ... import Attempt

# Models and servers may say anything; a terminal would obey some of it.
_CONTROL = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)], "\N{REPLACEMENT CHARACTER}")
_PIPED_WIDTH = 200
_UNWRITTEN = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])  # of which typer exports no other


class Commands(TyperGroup):
    """The commands; with `--json` a mistake in the command line is told in JSON as well."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        def run(alone: bool) -> Any:
            return super(Commands, self).main(args, prog_name, complete_var, alone, windows_expand_args, **extra)

        for name in ("stdout", "stderr"):  # None where the shell has closed them: `>&-`
            if getattr(sys, name) is None:
                setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for as long as the process lives
        try:
            if not standalone_mode or "--json" not in (sys.argv[1:] if args is None else args):
                return run(standalone_mode)
            try:
                status = run(False)
            except _UsageError as error:
                print_error("UsageError", error.format_message())
                status = error.exit_code
        except OSError as error:
            if error.errno not in _UNWRITTEN:
                raise
            say(f"The output cannot be written: {error.strerror}", "red")
            # What is held back would fail again at exit, with words of Python's own.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            status = 1
        sys.exit(status)


def stdout() -> Console:
    """Results."""
    from rich.console import Console  # Here and in its like: neither help nor completion nor --json needs it.

    # A pipe is not folded: a program that cuts columns out of it needs each row in one line.
    wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPED_WIDTH
    return Console(highlight=False, width=wide)


def stderr() -> Console:
    """Everything else."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def tame(text: str) -> str:
    """The text without control characters."""
    return text.translate(_CONTROL)


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on stdout, in ASCII, so that any encoding takes it."""
    typer.echo(json.dumps(value, indent=2))


def print_error(kind: str, message: str) -> None:
    """An error before any model was called, as JSON on stdout and in words on stderr."""
    print_json({"error": {"type": kind, "message": message, "retry_after": None}, "attempts": [], "skipped": []})
    say(message, "red")


def say(text: str, style: str = "") -> None:
    """A line on stderr."""
    from rich.text import Text

    stderr().print(Text(tame(text), style=style), soft_wrap=True)


def point_to_check(attempts: Iterable[Attempt]) -> None:
    """If an id does not exist, say which command knows a better one."""
    gone = dict.fromkeys(attempt.model for attempt in attempts if attempt.kind == "not_found")
    if gone:
        named = " ".join(f"-m {id}" for id in gone)
        say(f"What can take the place of a model that does not exist:\n  openrouter-fallback check --no-ask {named}")


class _Warnings(logging.Handler):
    """The library's warnings on stderr, but for those of attempts, of which the command tells at its end."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.module not in ("runtime", "log"):
            say(record.getMessage(), "yellow")


class _Timed(logging.Formatter):
    """A line of a service's log: time, level, message."""

    def format(self, record: logging.LogRecord) -> str:
        return tame(super().format(record))


def _log() -> logging.Handler:
    """Every line of the library on stderr, those of failovers and circuit breakers too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Timed("%(asctime)s %(levelname)s %(message)s"))
    return handler


@contextmanager
def failures(*, as_json: bool, warnings: bool = True, service: bool = False) -> Iterator[None]:
    """End the command as its exit status says: 1 for a failed call, 2 for wrong options or a wrong configuration.

    `warnings`: whether the library's are shown. `service`: its whole log is, because the command runs on.
    """
    from ... import AuthenticationError, ConfigError, FallbackError
    from .shapes import error_json

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # as arguments are read; the reader says what is wrong
    logger = logging.getLogger("openrouter_fallback")
    handler = _log() if service else _Warnings() if warnings else logging.NullHandler()
    logger.addHandler(handler)
    try:
        yield
    except FallbackError as error:
        no_key = isinstance(error, AuthenticationError) and not error.attempts
        if as_json:
            print_json(error_json(error))
        say(f"{type(error).__name__}: {error}", "red")
        point_to_check(error.attempts)
        raise typer.Exit(2 if no_key or isinstance(error, ConfigError) else 1) from None
    finally:
        logger.removeHandler(handler)


@contextmanager
def needs_emulator(what: str, *, as_json: bool) -> Iterator[None]:
    """Say what to install where the extra `emulator` is missing; exit status 2."""
    try:
        yield
    except ImportError as missing:
        if (missing.name or "").startswith("openrouter_fallback"):
            raise
        if as_json:
            print_error("ImportError", f"{what}: {missing}")
        else:
            say(f"{what}: {missing}")
        raise typer.Exit(2) from None
