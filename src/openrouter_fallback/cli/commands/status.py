"""The command `status`: what the processes that share a Redis server know of the models."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qsl, urlsplit

import typer

from ..options import AsJson, BaseUrl, Config, Models
from ..output.terminal import failures, print_error, print_json, say, stdout, tame

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ... import FallbackClient, ModelHealth

_STYLES = {"closed": "green", "half_open": "yellow", "open": "red"}


def status(
    config: Config = None,
    models: Models = None,
    redis: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The Redis server, if the configuration's health_store does not name it."),
    ] = None,
    base_url: BaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Print the fleet's health: for each model its circuit breaker, its success rate and how long it is skipped.

    Reads Redis once and calls no model. Cooldowns are those of this shell's key.

    \b
      openrouter-fallback status --config fallback.yaml
      openrouter-fallback status --redis redis://host -m openai/gpt-5.1 --json

    Exit status: 0 printed, 1 Redis does not answer, 2 wrong options or configuration.
    """
    from ... import ConfigError
    from ..configuration import find

    with failures(as_json=as_json):
        client = _client(find(config), models, redis, base_url)
        known = client.config.ids()
        for model in models or ():
            if model not in known:
                raise ConfigError(f"{tame(model)} is not in the configuration; its models are {', '.join(known)}")
        with client:
            try:
                seen = client.health(refresh=True)
            except ConnectionError as error:
                told = f"{error}. Check the URL, and {_PASSWORD} if the server wants a password."
                if as_json:
                    print_error("ConnectionError", told)
                else:
                    say(told, "red")
                raise typer.Exit(1) from None
        shown = [one for key, one in seen.items() if not models or key in models]
        known_of = any(_known(one) for one in shown)
        if as_json:
            print_json({"known": known_of, "models": [_json(one) for one in shown]})
            return
        _show(shown)
        if not known_of:
            say(f"{_nothing(client)}", "yellow")
        elif all(one.state == "closed" and one.seconds_left is None for one in shown):
            say("All circuits are closed, and no model is skipped.", "green")
            say(f"{_UNCOUNTED}: if calls fail, `check` finds the cause.")
        else:
            say(meaning([*seen.values()]), "yellow")


_UNCOUNTED = "A refused key (401), an empty account (402) and a server that cannot be reached are not shown here"
_PASSWORD = "OPENROUTER_FALLBACK_REDIS_PASSWORD"  # noqa: S105 - the variable's name


def _client(config: Path | None, models: list[str] | None, redis: str | None, base_url: str | None) -> FallbackClient:
    from ... import ConfigError, FallbackClient, FallbackConfig, load_config

    if config is None and not models:
        raise ConfigError("nothing to show: name the fleet's configuration (--config) or models (--model)")
    chosen = FallbackConfig(default_chain=models or ()) if config is None else load_config(config)
    settings = {name: getattr(chosen.settings, name) for name in type(chosen.settings).model_fields}
    if redis is not None:
        settings["health_store"] = redis
    if settings["health_store"] == "memory":
        raise ConfigError(
            "health is not shared here: name the Redis server in settings.health_store, or give --redis redis://host. "
            "Without Redis only the service knows: client.health() in its process, or /metrics of serve"
        )
    return FallbackClient(config=chosen, base_url=base_url, settings=settings)


def _known(health: ModelHealth) -> bool:
    """Whether any process has reported something of the model."""
    return bool(health.successes or health.failures or health.state != "closed" or health.seconds_left is not None)


def _nothing(client: FallbackClient) -> str:
    """What to look at where no process has reported anything: this is not the same as all being well."""
    store = client.config.settings.health_store
    url = urlsplit(store if isinstance(store, str) else store.get_secret_value())
    prefix = dict(parse_qsl(url.query)).get("prefix")
    under = f"the prefix {tame(prefix)!r}" if prefix else "the default prefix"
    minutes = client.config.settings.health_window_minutes
    return (
        f"Nothing is known under {under}: no process has reported a call of these models in the last {minutes:g} min. "
        f"Compare host, database and prefix of health_store, and base_url, with those of the service. {_UNCOUNTED}: "
        "if calls fail, `check` finds the cause."
    )


def meaning(models: Sequence[ModelHealth]) -> str:
    """What circuits and cooldowns mean for calls, where not every model is well."""
    states = Counter(one.state for one in models)
    of = len(models)
    if states["open"] == of:
        return (
            "Every circuit is open: calls still go to these models, and the first answer closes a circuit. "
            "`check` calls each model once."
        )
    if states["open"]:
        return f"{_of(states['open'], of, 'circuits')} open: calls use the other models."
    said = ["No circuit is open."]
    if states["half_open"]:
        said.append(f"{_of(states['half_open'], of, 'circuits')} half-open: a call probes the model.")
    if waiting := sum(one.state == "closed" and one.seconds_left is not None for one in models):
        said.append(f"{_of(waiting, of, 'models')} in a cooldown.")
    return " ".join(said)


def _of(count: int, of: int, what: str) -> str:
    return f"{count} of {of} {what} {'is' if count == 1 else 'are'}"


def _json(health: ModelHealth) -> dict[str, Any]:
    return {
        "model": health.model,
        "state": health.state,
        "success_rate": round(health.success_rate, 4),
        "successes": health.successes,
        "failures": health.failures,
        "seconds_left": None if health.seconds_left is None else round(health.seconds_left, 1),
        "reason": health.reason,
    }


def _show(models: list[ModelHealth]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", overflow="fold")
    table.add_column("breaker")
    for title in ("success", "answered", "failed", "skipped for"):
        table.add_column(title, justify="right")
    table.add_column()
    for one in models:
        table.add_row(
            Text(tame(one.model)),
            Text(one.state.replace("_", "-"), style=_STYLES.get(one.state, "")),
            f"{one.success_rate:.1%}" if one.successes or one.failures else "",
            str(one.successes),
            str(one.failures),
            "" if one.seconds_left is None else f"{one.seconds_left:.0f} s",
            Text(tame(one.reason)),
        )
    stdout().print(table)
