"""What all commands share: where they print, and how they end when something goes wrong."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

# Models and servers may say anything; a terminal would obey some of it.
_CONTROL = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)], "\N{REPLACEMENT CHARACTER}")


def stdout() -> Console:
    """Results."""
    return Console(highlight=False)


def stderr() -> Console:
    """Everything else."""
    return Console(stderr=True, highlight=False)


def tame(text: str) -> str:
    """The text without control characters."""
    return text.translate(_CONTROL)


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on stdout, in ASCII, so that any encoding takes it."""
    typer.echo(json.dumps(value, indent=2))


def say(text: str, style: str = "") -> None:
    """A line on stderr."""
    stderr().print(Text(tame(text), style=style), soft_wrap=True)


class _Warnings(logging.Handler):
    """The library's warnings on stderr, but for the failovers, of which the command tells at its end."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.module != "events":
            say(record.getMessage(), "yellow")


@contextmanager
def failures(*, as_json: bool) -> Iterator[None]:
    """End the command as its exit status says: 1 for a failed call, 2 for one that could not be made as asked."""
    from openrouter_fallback import AuthenticationError, ConfigError, FallbackError
    from openrouter_fallback.cli.shapes import error_json

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    logger, handler = logging.getLogger("openrouter_fallback"), _Warnings()
    logger.addHandler(handler)
    try:
        yield
    except FallbackError as error:
        no_key = isinstance(error, AuthenticationError) and not error.attempts
        if as_json:
            print_json(error_json(error))
        say(f"{type(error).__name__}: {error}", "red")
        raise typer.Exit(2 if no_key or isinstance(error, ConfigError) else 1) from None
    finally:
        logger.removeHandler(handler)
