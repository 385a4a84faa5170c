"""The commands `chat` and `route`: a client from the options, and what is printed of its calls."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text

from ... import (
    Attempt,
    CatalogError,
    Completion,
    ConfigError,
    FallbackClient,
    FallbackConfig,
    ModelInfo,
    Route,
)
from ..analysis.audit import OPENROUTER
from ..analysis.successors import replacement
from ..configuration import find
from ..credentials import ONLINE_ONCE, REACH
from ..output.terminal import point_to_check, say, stderr, stdout, tame

Messages = list[dict[str, str]]

CHAIN = ("anthropic/claude-sonnet-4.5", "openai/gpt-5.1", "meta-llama/llama-3.3-70b-instruct", "openrouter/auto")
"""The chain where neither a configuration nor a model is named; the last one chooses among what exists."""


def client(
    models: Sequence[str] | None,
    config: Path | None,
    base_url: str | None,
    task: str | None = None,
    max_cost_tier: str | None = None,
    max_price: float | None = None,
    primary_provider: str | None = None,
) -> FallbackClient:
    """The client that the options describe. With both, the models replace the configuration's chains.

    `models`: None where the user names none, so that stderr names those that are called; empty where none is called.
    """
    config = find(config)
    if config is not None:
        made = FallbackClient(config=config, base_url=base_url).with_options(models=models or None)
    else:
        if models is None:
            say(f"No configuration here: the models are {', '.join(CHAIN)}.", "dim")
        made = FallbackClient(models or CHAIN, base_url=base_url)
    if _rests_on_prices(made.config, max_cost_tier, max_price):
        try:
            listed(made, OPENROUTER, offline=False)
        except CatalogError as error:
            say(str(error), "yellow")
    return made.with_options(
        task=task, max_cost_tier=max_cost_tier, max_price=max_price, primary_provider=primary_provider
    )


def _rests_on_prices(config: FallbackConfig, max_cost_tier: str | None, max_price: float | None) -> bool:
    """Whether a command, which ends before the background would have fetched any, needs prices."""
    settings = config.settings
    tiers = max_cost_tier is not None and config.derives_tiers
    return tiers or max_price is not None or settings.spend_limit_usd is not None or settings.order_by == "price"


def listed(client: FallbackClient, endpoint: str, *, offline: bool, anew: bool = False) -> tuple[ModelInfo, ...]:
    """The models of an endpoint; fetched if `anew` or if the list here is old. `CatalogError` if there is none."""
    catalog = client.catalog
    if not offline and (anew or catalog.stale(endpoint)):
        try:
            asyncio.run(_refresh(client, endpoint))
        except CatalogError as error:
            if not catalog.models(endpoint):
                raise CatalogError(f"{error}\nNext step: {REACH}") from None
            say(f"{error}\nWhat follows was fetched at {catalog.fetched(endpoint):%Y-%m-%d %H:%M} UTC.", "yellow")
    if not catalog.models(endpoint):
        raise CatalogError(f"{endpoint}: no list of models is stored on this machine yet.\nNext step: {ONLINE_ONCE}")
    return catalog.models(endpoint)


async def _refresh(client: FallbackClient, endpoint: str) -> None:
    async with client:
        await client.catalog.refresh(endpoint)


def messages(prompt: str, system: str | None) -> Messages:
    """The conversation to send."""
    if not prompt.strip():
        raise ConfigError('the prompt is empty; give it as an argument, or "-" to read it from stdin')
    if not _is_unicode(prompt) or not _is_unicode(system or ""):
        raise ConfigError("the prompt is not UTF-8; convert it, as with: iconv -f LATIN1 -t UTF-8 FILE")
    before = [{"role": "system", "content": system}] if system is not None else []
    return [*before, {"role": "user", "content": prompt}]


def _is_unicode(text: str) -> bool:
    """Whether all of the bytes that were given in the command line or on stdin could be read."""
    return text.encode("utf-8", "replace").decode() == text


def show(client: FallbackClient, messages: Messages, *, stream: bool) -> None:
    """Make the call, print the answer on stdout, and on stderr which models failed and which one answered."""
    out = _Out()
    try:
        if stream:
            with client.stream(messages) as pieces:
                for piece in pieces:
                    out.write(piece.text)
            completion = pieces.completion
        else:
            completion = client.chat(messages)
            out.write(completion.text)
        if not out.text:
            out.write(completion.message.get("refusal") or "")
    finally:
        out.end()
    _summary(completion)
    _name_successors(client, completion.attempts)


def show_route(route: Route) -> None:
    """Print the candidates in order and the skipped models."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for number, model in enumerate(route.candidates, 1):
        table.add_row(str(number), Text(model, overflow="fold"), "")
    for skipped in route.skipped:
        left = f", for {skipped.seconds_left:.0f} s more" if skipped.seconds_left is not None else ""
        table.add_row("-", Text(skipped.model, overflow="fold"), Text(f"skipped: {skipped.reason}{left}"))
    stdout().print(table)


class _Out:
    """The answer's way to stdout, piece by piece; a terminal gets no control characters."""

    def __init__(self) -> None:
        self.text = ""
        self._tame = tame if sys.stdout.isatty() else str

    def write(self, text: str) -> None:
        if text:
            self.text = text
            typer.echo(self._tame(text), nl=False)

    def end(self) -> None:
        if self.text and not self.text.endswith("\n"):
            typer.echo()


def _summary(completion: Completion) -> None:
    table = Table.grid(padding=(0, 2, 0, 0))
    for attempt in completion.attempts:
        table.add_row(*_row(attempt, completion))
    stderr().print(table)
    if completion.finish_reason == "length":
        say("The answer was cut off: it reached the limit of its length.", "yellow")


def _name_successors(client: FallbackClient, attempts: Iterable[Attempt]) -> None:
    """Say what takes the place of the models that do not exist, by their endpoints' lists.

    Without a list, and for a model that the list has, say which command looks further.
    """
    unknown = []
    for attempt in {one.model: one for one in attempts if one.kind == "not_found"}.values():
        endpoint, id = client.config.split(attempt.model)
        try:
            living = listed(client, endpoint, offline=False)
        except CatalogError:
            living = ()
        if not living or any(one.id == id for one in living):
            unknown.append(attempt)
        else:
            say(f"{attempt.model} does not exist. {replacement(endpoint, id, living)}", "yellow")
    point_to_check(unknown)


def _row(attempt: Attempt, completion: Completion) -> list[Text]:
    seconds = Text(f"{attempt.seconds:.2f} s")
    if attempt.kind is not None:
        status = f" {attempt.status}" if attempt.status is not None else ""
        return [Text("failed", "red"), Text(attempt.model), Text(f"{attempt.kind}{status}"), seconds]
    served = f"as {tame(completion.model)}, " if completion.model != attempt.model else ""
    return [Text("answered", "green"), Text(attempt.model), Text(f"{served}{_spent(completion)}"), seconds]


def _spent(completion: Completion) -> str:
    usage, cost = completion.usage, completion.cost
    parts = [f"{usage.prompt_tokens} tokens in, {usage.completion_tokens} out"] if usage is not None else []
    if cost is not None:
        parts.append(f"${cost:.6f}")
    return ", ".join(parts) or "no usage reported"
