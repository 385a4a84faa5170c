"""The command `spend`: what was spent today, by the fleet as Redis has it and by the key as OpenRouter has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..options import AsJson, BaseUrl, Config
from ..output.terminal import failures, print_error, print_json, say, stdout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ... import FallbackClient, Spend

_KEY = ("usage_daily", "usage_weekly", "usage_monthly", "usage", "limit", "limit_remaining")


def spend(
    config: Config = None,
    redis: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The Redis server, if the configuration's health_store does not name it."),
    ] = None,
    base_url: BaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Print what was spent today, in USD: by the fleet, and by the key.

    The fleet's figure is what the processes that share a Redis server have reported. The key's figures are
    OpenRouter's, for all programs that use the key. Without such a server or a key, that part is missing. Days are UTC.

    \b
      openrouter-fallback spend --config fallback.yaml
      openrouter-fallback spend --json

    Exit status: 0 something is known, 1 nothing is, 2 wrong options or configuration.
    """
    import asyncio

    from ..configuration import find

    with failures(as_json=as_json):
        client = _client(find(config), redis, base_url)
        with client:
            fleet = _fleet(client)
            key = asyncio.run(_key(client))
        if fleet is None and key is None:
            told = "There is neither a Redis server that answers nor a key that works, so no spending is known."
            if as_json:
                print_error("LookupError", told)
            else:
                say(told, "red")
            raise typer.Exit(1)
        if as_json:
            print_json({"fleet": None if fleet is None else _json(fleet), "key": key})
        else:
            _show(fleet, key)


def _client(config: Any, redis: str | None, base_url: str | None) -> FallbackClient:
    from ... import FallbackClient, FallbackConfig, load_config

    chosen = FallbackConfig(default_chain=["openrouter/auto"]) if config is None else load_config(config)
    settings = {name: getattr(chosen.settings, name) for name in type(chosen.settings).model_fields}
    return FallbackClient(
        config=chosen, base_url=base_url, settings=settings if redis is None else {**settings, "health_store": redis}
    )


def _fleet(client: FallbackClient) -> Spend | None:
    if client.config.settings.health_store == "memory":
        return None
    try:
        client.health(refresh=True)
    except ConnectionError as error:
        say(f"{error}.", "yellow")
        return None
    return client.spend()


async def _key(client: FallbackClient) -> dict[str, Any] | None:
    from ... import FallbackError

    async with client:
        try:
            told: Mapping[str, Any] = await client.key_info()
        except FallbackError as error:
            say(str(error), "yellow")
            return None
    return {name: told.get(name) for name in _KEY}


def _json(fleet: Spend) -> dict[str, Any]:
    return {
        "today": float(fleet.others),
        "per_day": None if fleet.per_day is None else float(fleet.per_day),
        "left": None if fleet.left is None else float(fleet.left),
    }


def _show(fleet: Spend | None, key: dict[str, Any] | None) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    if fleet is not None:
        table.add_row("fleet, today", f"{fleet.others:.6f} USD")
        if fleet.per_day is not None:
            table.add_row("  limit per day", f"{fleet.per_day:.6f} USD")
            table.add_row("  left", f"{fleet.left:.6f} USD")
    for name, value in (key or {}).items():
        if isinstance(value, int | float):
            table.add_row(f"key, {name.replace('_', ' ')}", f"{value:.6f} USD")
    stdout().print(table)
