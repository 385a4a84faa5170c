"""The command `check`: what is checked, and its report printed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ... import ConfigError, FallbackClient, FallbackConfig, load_config
from ..commands.check import Wishes, check
from ..options import CONFIG_FILE
from ..output.shapes import report_json
from ..output.terminal import print_json, stderr
from ..output.views import show_report
from .audit import NEEDS


def run(
    config: Path | None,
    models: Sequence[str] | None,
    base_url: str | None,
    wishes: Wishes,
    *,
    strict: bool,
    as_json: bool,
) -> bool:
    """Check and print; whether it passed. Raises `ConfigError` where there is nothing that can be checked."""
    for need in wishes.needs:
        if need not in NEEDS:
            raise ConfigError(f"--needs {need} is not known; there are: {', '.join(NEEDS)}")
    client = _client(config, models, base_url)
    with stderr().status("Looking at the key and the list of models ...") as status:
        report = asyncio.run(
            check(
                client,
                wishes,
                datetime.now(UTC).date(),
                lambda done, of: status.update(f"Asking the models: {done} of {of} answered ..."),
            )
        )
    passed = report.passed(strict=strict)
    if as_json:
        print_json(report_json(report, passed=passed))
    else:
        show_report(report, passed=passed)
    return passed


def _client(config: Path | None, models: Sequence[str] | None, base_url: str | None) -> FallbackClient:
    """The client of what is checked; models that are named stand in for the configuration's chains."""
    if config is None and not models and not CONFIG_FILE.is_file():
        raise ConfigError(
            f"nothing to check: there is no {CONFIG_FILE} here; name a file with --config or models with --model, "
            "or let openrouter-fallback init write one"
        )
    if not models:
        return FallbackClient(config=config or CONFIG_FILE, base_url=base_url)
    if config is None:
        return FallbackClient(models, base_url=base_url)
    whole = load_config(config)
    own = {id: one for id, one in whole.models.items() if id in models}
    chosen = FallbackConfig(default_chain=models, models=own, endpoints=whole.endpoints, settings=whole.settings)
    return FallbackClient(config=chosen, base_url=base_url)
