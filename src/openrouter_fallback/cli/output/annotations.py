"""Findings as GitHub Actions shows them beside the lines of a file."""

from __future__ import annotations

import re
from collections.abc import Iterable

import typer

from ... import ConfigError
from ..analysis.audit import Finding, Level

_COMMANDS: dict[Level, str] = {"problem": "error", "warning": "warning", "note": "notice"}
_AT_LINE = re.compile(r"(?P<file>[^\n:]+?), line (?P<line>\d+)[,:]")


def annotate(findings: Iterable[Finding]) -> None:
    """One workflow command for each finding, on stdout."""
    for one in findings:
        typer.echo(_command(_COMMANDS[one.level], one.file, one.line, one.key or one.about, _sentence(one)))


def annotate_mistakes(error: ConfigError) -> None:
    """The same for each mistake of a configuration that cannot be used."""
    for file, line, key, text in mistakes(error) or ((None, None, "", str(error)),):
        typer.echo(_command("error", file, line, key, text))


def mistakes(error: ConfigError) -> tuple[tuple[str, int | None, str, str], ...]:
    """File, line, key and text of each mistake. A file that is no YAML has one, without a key. Empty: not of a file."""
    if error.mistakes or (at := _AT_LINE.match(str(error))) is None:
        return error.mistakes
    return ((at["file"], int(at["line"]), "", str(error)),)


def _sentence(one: Finding) -> str:
    return f"{one.about}: {one.text}" + (f"\n{one.step}" if one.step else "")


def _command(name: str, file: str | None, line: int | None, title: str, text: str) -> str:
    given = {"file": file, "line": line, "title": title or None}
    properties = ",".join(f"{key}={_escaped(str(value))}" for key, value in given.items() if value is not None)
    return f"::{name}{' ' if properties else ''}{properties}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escaped(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
