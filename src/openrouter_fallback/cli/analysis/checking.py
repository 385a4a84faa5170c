"""The command `check`: what is checked, and its report printed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from ... import ConfigError, FallbackClient
from ..commands.check import Report, Wishes, check
from ..configuration import HEALTH_STORE, find, located, narrowed
from ..options import CONFIG_FILE, Format
from ..output.annotations import annotate, annotate_mistakes
from ..output.shapes import report_json
from ..output.terminal import print_json, say, stderr
from ..output.views import show_report, verdict
from .audit import NEEDS, Finding


def run(
    config: Path | None,
    models: Sequence[str] | None,
    base_url: str | None,
    wishes: Wishes,
    *,
    strict: bool,
    form: Format,
) -> bool:
    """Check and print; whether it passed. Raises `ConfigError` where there is nothing that can be checked."""
    try:
        report, file = _checked(config, models, base_url, wishes)
    except ConfigError as error:
        if form is Format.GITHUB:
            annotate_mistakes(error)
        raise
    report = replace(report, findings=located(report.findings, file))
    passed = report.passed(strict=strict)
    if form is Format.JSON:
        print_json(report_json(report, passed=passed))
    elif form is Format.GITHUB:
        annotate(report.findings)
        say(str(verdict(report.findings, passed=passed)))
    else:
        show_report(report, passed=passed)
    return passed


def _checked(
    config: Path | None, models: Sequence[str] | None, base_url: str | None, wishes: Wishes
) -> tuple[Report, Path | None]:
    """What was found, and the file that it is of."""
    for need in wishes.needs:
        if need not in NEEDS:
            raise ConfigError(f"--needs {need} is not known; there are: {', '.join(NEEDS)}")
    file = find(config)
    client = _client(file, models, base_url)
    store = () if wishes.offline else _store(client)
    with stderr().status("Looking at the key and the list of models ...") as status:
        report = asyncio.run(
            check(
                client,
                wishes,
                datetime.now(UTC).date(),
                lambda done, of: status.update(f"Calling the models: {done} of {of} answered ..."),
            )
        )
    return replace(report, findings=(*store, *report.findings)), file


def _client(config: Path | None, models: Sequence[str] | None, base_url: str | None) -> FallbackClient:
    """The client of what is checked; models that are named stand in for the configuration's chains."""
    chosen = narrowed(config, models)
    if chosen is None:
        raise ConfigError(
            f"nothing to check: there is no {CONFIG_FILE} here; name a file with --config or models with --model, "
            "or let openrouter-fallback init write one"
        )
    return FallbackClient(config=chosen, base_url=base_url)


def _store(client: FallbackClient) -> tuple[Finding, ...]:
    """Try the Redis server that health is shared through, if the configuration names one."""
    if client.config.settings.health_store == "memory":
        return ()
    try:
        client.health(refresh=True)
    except ConnectionError as error:
        said = str(error).removeprefix("the health store ").partition(";")[0]
        text = f"{said}. Each process would use its own health only"
        step = "Check settings.health_store, the server, and OPENROUTER_FALLBACK_REDIS_PASSWORD if it wants a password."
        return (Finding("problem", HEALTH_STORE, text, step),)
    return ()
