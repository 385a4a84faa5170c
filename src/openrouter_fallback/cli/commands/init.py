"""The command `init`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import typer

from ... import FallbackClient
from ..analysis.audit import OPENROUTER
from ..analysis.listing import provider
from ..analysis.starter import as_yaml, choose, write
from ..output.terminal import print_json
from .calls import CHAIN, listed


def run(file: Path, base_url: str | None, *, force: bool, offline: bool, as_json: bool) -> None:
    """Choose, write, and say what to do next."""
    today = datetime.now(UTC).date()
    starter = choose(listed(FallbackClient(CHAIN, base_url=base_url), OPENROUTER, offline=offline, anew=True), today)
    write(file, as_yaml(starter, file, today), force=force)
    if as_json:
        tasks, tiers = (
            {name: [one.id for one in chain] for name, chain in some.items()} for some in (starter.tasks, starter.tiers)
        )
        print_json({"written": str(file), "chains": tasks, "cost_tiers": tiers})
        return
    providers = len({provider(model.id) for model in starter.models})
    typer.echo(f"{file} is written: {len(starter.models)} models of {providers} providers.\n\nNext:")
    typer.echo(f"  openrouter-fallback check --config {file}")
    typer.echo(f"  openrouter-fallback drill --config {file}    # without a key")
