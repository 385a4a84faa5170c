"""The command `drill`: which scenarios, and what to type after it."""

from __future__ import annotations

import difflib
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from openrouter_fallback.drill import Scenario

_EXAMPLE = Path("examples/fallback.yaml")


def chosen(names: Sequence[str] | None, scenarios: Sequence[Scenario]) -> list[Scenario]:
    """The scenarios of these names, all of them for none; `typer.BadParameter` for a name that is no scenario's."""
    known = {scenario.name: scenario for scenario in scenarios}
    for name in names or ():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise typer.BadParameter(f"there is no scenario {name!r}; there are: {', '.join(known)}.{hint}")
    return [known[name] for name in dict.fromkeys(names)] if names else list(scenarios)


def what_next(config: Path | None) -> None:
    """What to type next: the same with an own key and an own configuration."""
    program = "openrouter-fallback"
    if shutil.which(program) is None and os.path.basename(sys.argv[0]) == program:
        program = sys.argv[0]
    used = config or _EXAMPLE
    chain = f"--config {used}" if used.is_file() else "--model anthropic/claude-sonnet-4.5 --model openai/gpt-5.1"
    typer.echo("\nNext, with a key from https://openrouter.ai/settings/keys and your own models:")
    typer.echo("  export OPENROUTER_API_KEY=sk-or-...")
    typer.echo(f'  {program} chat "Why do fallbacks need a budget?" {chain}')
    if used == _EXAMPLE:
        typer.echo(f"  {program} init && {program} drill --config fallback.yaml")
