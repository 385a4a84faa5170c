"""The commands and their options. What they do stands in `calls.py`, and in the drill's own package."""

from __future__ import annotations

import difflib
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openrouter_fallback.cli.status import status
from openrouter_fallback.cli.terminal import failures, print_json, say, stderr, stdout

if TYPE_CHECKING:
    from openrouter_fallback.drill import Scenario

app = typer.Typer(
    name="openrouter-fallback",
    help="Ask a chain of models on OpenRouter, see how calls are routed, and rehearse outages.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

CONFIG_ENV = "OPENROUTER_FALLBACK_CONFIG"
_EXAMPLE = Path("examples/fallback.yaml")

Models = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", metavar="ID", help="A model; several in the order in which they are asked."),
]
Config = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", envvar=CONFIG_ENV, help="A YAML configuration.")
]
Task = Annotated[str | None, typer.Option(metavar="NAME", help="Use the chain of this task.")]
MaxCostTier = Annotated[str | None, typer.Option(metavar="TIER", help="Use no model above this cost tier.")]
PrimaryProvider = Annotated[str | None, typer.Option(metavar="NAME", help="Put this provider's models first.")]
BaseUrl = Annotated[str | None, typer.Option(metavar="URL", help="Where OpenRouter is, if not at openrouter.ai.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else.")]


def _version(asked: bool) -> None:
    if asked:
        from openrouter_fallback import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _app(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def chat(
    prompt: Annotated[str, typer.Argument(help='The prompt; "-" reads it from stdin.')],
    models: Models = None,
    config: Config = None,
    task: Task = None,
    max_cost_tier: MaxCostTier = None,
    primary_provider: PrimaryProvider = None,
    base_url: BaseUrl = None,
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="The system prompt.")] = None,
    as_json: AsJson = False,
    no_stream: Annotated[bool, typer.Option("--no-stream", help="Print the answer once it is whole.")] = False,
) -> None:
    """Ask, and print the answer as it comes; then say which models failed and which one answered.

    The key comes from OPENROUTER_API_KEY. Exit status: 1 if the call failed, 2 if it could not be made as asked.
    """
    from openrouter_fallback.cli import calls
    from openrouter_fallback.cli.shapes import completion_json

    with failures(as_json=as_json):
        client = calls.client(models, config, base_url, task, max_cost_tier, primary_provider)
        messages = calls.messages(sys.stdin.read() if prompt == "-" else prompt, system)
        with client:
            if as_json:
                print_json(completion_json(client.chat(messages)))
            else:
                calls.show(client, messages, stream=not no_stream)


@app.command()
def route(
    models: Models = None,
    config: Config = None,
    task: Task = None,
    max_cost_tier: MaxCostTier = None,
    primary_provider: PrimaryProvider = None,
    base_url: BaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Print the models that a call would ask, in order, and the skipped ones with the reason. Calls nothing."""
    from openrouter_fallback.cli import calls
    from openrouter_fallback.cli.shapes import route_json

    with failures(as_json=as_json):
        found = calls.client(models, config, base_url, task, max_cost_tier, primary_provider).route()
        if as_json:
            print_json(route_json(found))
        else:
            calls.show_route(found)


@app.command()
def drill(
    config: Config = None,
    names: Annotated[
        list[str] | None, typer.Option("--scenario", "-s", metavar="NAME", help="Only this scenario; may be repeated.")
    ] = None,
    list_only: Annotated[bool, typer.Option("--list", help="Print the scenarios and end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take the primary model of the default chain down in eight ways, on loopback: no key is used, nothing leaves.

    Each scenario runs with failover and without. Exit status: 1 if a scenario failed.
    """
    with failures(as_json=as_json):
        try:
            from openrouter_fallback import drill as rehearsal
        except ImportError as missing:
            if (missing.name or "").startswith("openrouter_fallback"):
                raise
            say(f"The drill: {missing}")
            raise typer.Exit(2) from None
        from openrouter_fallback import load_config
        from openrouter_fallback.drill.report import listing, report

        if list_only:
            listing(rehearsal.SCENARIOS, stdout())
            return
        scenarios = _chosen(names, rehearsal.SCENARIOS)
        with stderr().status("") as status:
            result = rehearsal.run_drill(
                load_config(config) if config is not None else None,
                scenarios,
                starting=lambda scenario: status.update(f"The drill: {scenario.title} ..."),
            )
        if as_json:
            print_json(result.as_dict())
        else:
            report(result, stdout())
            _what_next(config)
        if not result.passed:
            raise typer.Exit(1)


app.command(short_help="Print the fleet's health, from Redis.")(status)


def _chosen(names: list[str] | None, scenarios: tuple[Scenario, ...]) -> list[Scenario]:
    known = {scenario.name: scenario for scenario in scenarios}
    for name in names or ():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise typer.BadParameter(f"there is no scenario {name!r}; there are: {', '.join(known)}.{hint}")
    return [known[name] for name in dict.fromkeys(names)] if names else list(scenarios)


def _what_next(config: Path | None) -> None:
    """What to type next: the same with an own key and an own configuration."""
    program = "openrouter-fallback"
    if shutil.which(program) is None and os.path.basename(sys.argv[0]) == program:
        program = sys.argv[0]
    chosen = config or _EXAMPLE
    chain = f"--config {chosen}" if chosen.is_file() else "--model anthropic/claude-sonnet-4.5 --model openai/gpt-5.1"
    typer.echo("\nNext, with a key from https://openrouter.ai/settings/keys and your own models:")
    typer.echo("  export OPENROUTER_API_KEY=sk-or-...")
    typer.echo(f'  {program} chat "Why do fallbacks need a budget?" {chain}')
    if chosen == _EXAMPLE:
        typer.echo(f"  {program} drill --config your.yaml")
