"""The command `drill`: which scenarios, how it is watched, where the report goes, and what to type after it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import typer

from ... import ConfigError
from ...drill import VERDICTS, DrillResult, Scenario, Verdict, read_scenario, run_drill, shipped
from ...drill.reporting.live import watching
from ...drill.reporting.report import listing
from ...drill.reporting.report import report as print_report
from ...suggest import nearest
from ..configuration import narrowed
from ..output.shapes import scenarios_json
from ..output.terminal import print_json, say, stderr, stdout

_EXAMPLE = Path("examples/fallback.yaml")
_YAML = (".yaml", ".yml")
_PROGRAM = "openrouter-fallback"
_LAST = "last-drill.html"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is drilled, as typed."""

    config: Path | None
    models: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    task: str | None = None
    surface: Literal["core", "langchain", "llamaindex"] | None = None

    def command(self) -> str:
        """What one types to do it again."""
        given = {"--config": self.config, "--task": self.task, "--surface": self.surface}
        options = [[name, str(value)] for name, value in given.items() if value is not None]
        options += [["--model", id] for id in self.models]
        options += [["--scenario", name] for name in self.names]
        return shlex.join([_PROGRAM, "drill", *(word for option in options for word in option)])


@dataclass(frozen=True, slots=True)
class Target:
    """Where the report goes, if one is wanted; None: the file of the last report, in the user's cache directory."""

    path: Path | None
    wanted: bool


def show_list(*, as_json: bool) -> None:
    """Print the shipped scenarios."""
    if as_json:
        print_json(scenarios_json(shipped()))
    else:
        listing(shipped(), stdout())


def run(wanted: Wanted, target: Target, *, as_json: bool) -> Verdict:
    """Drill, print, write the report; the verdict. Raises `ConfigError` and `typer.BadParameter`."""
    scenarios = _chosen(wanted.names)
    config = narrowed(wanted.config, wanted.models)
    missing = _missing(target)
    with nullcontext(_unseen) if as_json else watching(stderr()) as watch:
        result = run_drill(config, scenarios, task=wanted.task, surface=wanted.surface, watch=watch)
    if not as_json:
        print_report(result, stdout())
    written = _write(result, target, wanted.command()) if target.wanted and not missing else None
    if as_json:
        print_json({**result.as_dict(), "report": str(written) if written is not None else None})
        return result.verdict
    _what_next(wanted.config)
    if missing:
        say(f"\nNo HTML report: {missing}")
    if written is not None:
        typer.echo(f"\nThe report, for a browser: {written}")
    return result.verdict


def as_bad_as(verdict: Verdict, limit: Verdict) -> bool:
    """Whether a verdict is the limit's or worse."""
    return VERDICTS.index(verdict) >= VERDICTS.index(limit)


def _unseen(progress: object) -> None:
    pass


def _missing(target: Target) -> str:
    """What to install for a report; raises if one was named, before anything is drilled."""
    if not target.wanted:
        return ""
    if target.path is not None and (why := _unwritable(target.path)):
        raise ConfigError(f"--report {target.path}: {why}")
    try:
        from ...drill import page  # noqa: F401 - whether it can be
    except ImportError as error:
        words = f'it needs {error.name}: pip install "openrouter-fallback[report]"'
        if target.path is not None:
            raise ConfigError(f"--report {target.path}: {words}") from None
        return words
    return ""


def _unwritable(file: Path) -> str:
    """Why a file cannot be written, as far as that is known before."""
    folder = file.absolute().parent
    if not folder.is_dir():
        return f"there is no directory {file.parent}"
    if file.is_dir():
        return "this is a directory; name the file in it, such as drill.html"
    try:
        if file.is_file():
            file.open("ab").close()
        elif not file.exists():
            tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _write(result: DrillResult, target: Target, command: str) -> Path:
    from ...drill.page import write_page

    path = target.path or _last_report()
    try:
        return write_page(result, path, command=command)
    except OSError as error:
        raise ConfigError(f"--report {path or 'to a temporary file'}: {error.strerror}") from None


def _last_report() -> Path | None:
    """One file per user, which the next drill replaces: drills leave no files behind. None: it cannot be had."""
    from platformdirs import user_cache_path

    try:
        folder = user_cache_path("openrouter-fallback", appauthor=False)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: there is no home directory
        return None
    return None if _unwritable(folder / _LAST) else folder / _LAST


def _chosen(names: Sequence[str]) -> list[Scenario]:
    """The scenarios of these names and files, all shipped ones for none."""
    known = {scenario.name: scenario for scenario in shipped()}
    found = []
    for name in dict.fromkeys(names):
        if name.endswith(_YAML) or os.sep in name:
            found.append(read_scenario(name))
        elif name in known:
            found.append(known[name])
        else:
            meant = nearest(name, known)
            hint = f" Did you mean {meant}?" if meant else ""
            there = f"{', '.join(known)}; a file of your own ends in .yaml"
            raise typer.BadParameter(f"there is no scenario {name!r}; there are: {there}.{hint}")
    return found or list(known.values())


def _what_next(config: Path | None) -> None:
    """What to type next: the same with an own key and an own configuration."""
    program = _PROGRAM
    if shutil.which(program) is None and os.path.basename(sys.argv[0]) == program:
        program = sys.argv[0]
    used = config or _EXAMPLE
    chain = f"--config {used}" if used.is_file() else "--model anthropic/claude-sonnet-4.5 --model openai/gpt-5.1"
    if os.environ.get("OPENROUTER_API_KEY"):
        typer.echo("\nNext, with your key and your own models:")
    else:
        typer.echo("\nNext, with a key from https://openrouter.ai/settings/keys and your own models:")
        typer.echo("  export OPENROUTER_API_KEY=sk-or-...")
    typer.echo(f'  {program} chat "Why do fallbacks need a budget?" {chain}')
    if used == _EXAMPLE:
        typer.echo(f"  {program} init && {program} drill --config fallback.yaml")
