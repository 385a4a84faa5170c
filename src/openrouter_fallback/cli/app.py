"""The commands and their options. What they do stands in the modules that they import."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .commands.serve import serve
from .commands.spend import spend
from .commands.status import status
from .options import (
    CONFIG_FILE,
    AsJson,
    BaseUrl,
    Config,
    FailOn,
    Format,
    MaxCostTier,
    MaxPrice,
    Models,
    Offline,
    PrimaryProvider,
    Sort,
    Surface,
    Task,
    token_count,
)
from .output.terminal import Commands, failures, needs_emulator, print_json

_ABOUT = """A chain of models on OpenRouter behind one command: if a model fails, the next one answers.

\b
  openrouter-fallback init               write fallback.yaml
  export OPENROUTER_API_KEY=sk-or-...    from openrouter.ai/settings/keys
  openrouter-fallback check              is all right, does each model answer?
  openrouter-fallback chat "Hello"

The configuration is the first of these: --config, the variable
OPENROUTER_FALLBACK_CONFIG, ./fallback.yaml. stderr names it.

Without a key: drill rehearses outages on this machine, emulate is an OpenRouter for your own tests. Each command's
--help is a page with examples. With --json a command prints one JSON object, also of an error.
"""

app = typer.Typer(
    name="openrouter-fallback",
    cls=Commands,
    help=_ABOUT,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _app(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command(short_help="Write a commented configuration to start from.")
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to write.")] = CONFIG_FILE,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it exists.")] = False,
    offline: Offline = False,
    base_url: BaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Write a commented configuration to start from.

    It gets a default chain, chains for coding, creative writing and quick answers, and cost tiers: of models that exist
    today, at a sound price, each chain of different providers. No key is needed.

    \b
      openrouter-fallback init
      openrouter-fallback init chains/production.yaml
      openrouter-fallback check                # then: does all of it work?

    Exit status: 0 written, 1 the list of models could not be fetched, 2 the file exists or cannot be written.
    """
    from .commands import init as initial

    with failures(as_json=as_json):
        initial.run(file, base_url, force=force, offline=offline, as_json=as_json)


@app.command(short_help="Look for what is wrong with a configuration.")
def check(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="The configuration, as --config.")] = None,
    config: Config = None,
    models: Models = None,
    needs: Annotated[
        list[str] | None, typer.Option("--needs", metavar="WHAT", help="What every model must be able to do: tools ...")
    ] = None,
    no_ask: Annotated[bool, typer.Option("--no-ask", help="Call no model: no cost, and no key needed.")] = False,
    offline: Offline = False,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings fail the check too.")] = False,
    prompt_tokens: Annotated[int, typer.Option(min=0, metavar="N", help="Of a usual prompt, for the costs.")] = 1000,
    completion_tokens: Annotated[int, typer.Option(min=0, metavar="N", help="Of a usual answer, for the costs.")] = 300,
    timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="The longest to wait for a model.")] = 60.0,
    form: Annotated[Format, typer.Option("--format", help="github: annotations of a workflow.")] = Format.TEXT,
    base_url: BaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Look for what is wrong with a configuration, and for what will be.

    Is it valid? Is the key there, and accepted? Does each model exist, does it expire soon, can it do what its chain
    is for, and does it answer a tiny prompt (a fraction of a cent for all)? Does the Redis server answer, if health is
    shared? What do 1,000 calls of each chain cost? A model that is gone is named with the one that can take its place.

    \b
      openrouter-fallback check
      openrouter-fallback check fallback.yaml --no-ask --strict   # CI, no key
      openrouter-fallback check --offline --strict --format github
      openrouter-fallback check -m openai/gpt-5.1 --needs tools --needs image

    Exit status: 0 fit for use, 1 a problem was found, 2 wrong options or configuration.
    """
    from .analysis import checking
    from .analysis.costs import Load
    from .commands.check import Wishes

    as_json = as_json or form is Format.JSON
    form = Format.JSON if as_json else form
    if file is not None and config is not None and file != config:
        raise typer.BadParameter(f"two configurations: {file} and --config {config}; name one")
    with failures(as_json=as_json, warnings=False):
        wishes = Wishes(offline, not no_ask, tuple(needs or ()), timeout, Load(prompt_tokens, completion_tokens))
        passed = checking.run(file or config, models, base_url, wishes, strict=strict, form=form)
    if not passed:
        raise typer.Exit(1)


@app.command("models", short_help="Search the models that exist.")
def models_(
    words: Annotated[list[str] | None, typer.Argument(metavar="WORD", help="Words in the id or the name.")] = None,
    provider: Annotated[
        list[str] | None, typer.Option("--provider", "-p", metavar="NAME", help="Only this author's models.")
    ] = None,
    can: Annotated[
        list[str] | None, typer.Option("--can", metavar="WHAT", help="Only models that can: tools, image ...")
    ] = None,
    min_context: Annotated[
        int,
        typer.Option(
            metavar="TOKENS", parser=token_count, show_default=False, help="The least context, as 200000 or 200k."
        ),
    ] = 0,
    max_price: Annotated[
        float | None, typer.Option(min=0, metavar="USD", help="The most per million tokens, in and out alike.")
    ] = None,
    free: Annotated[bool, typer.Option("--free", help="Only models that cost nothing.")] = False,
    sort: Annotated[Sort, typer.Option(help="The cheapest, the largest context first, or by id.")] = Sort.PRICE,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Show only the first N.")] = None,
    endpoint: Annotated[
        str, typer.Option(metavar="NAME", help="An endpoint of the configuration, in place of OpenRouter.")
    ] = "openrouter",
    config: Config = None,
    offline: Offline = False,
    base_url: BaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Search the models that exist: their prices, their context, what they can do. No key is needed.

    \b
      openrouter-fallback models claude
      openrouter-fallback models --can image --max-price 3 --min-context 200k
      openrouter-fallback models --provider deepseek --sort context --limit 5
      openrouter-fallback models --free --json

    Exit status: 0 some were found, 1 none was, 2 wrong options or configuration.
    """
    from .analysis.listing import Wanted
    from .commands import calls
    from .commands import models as searching

    with failures(as_json=as_json):
        wanted = Wanted(tuple(words or ()), tuple(provider or ()), tuple(can or ()), min_context, max_price, free)
        client = calls.client((), config, base_url)
        found = searching.search(client, endpoint, wanted, sort, limit, offline=offline, as_json=as_json)
    if not found:
        raise typer.Exit(1)


@app.command(short_help="Make a call, and print the answer as it comes.")
def chat(
    prompt: Annotated[str, typer.Argument(help='The prompt; "-" reads it from stdin.')],
    models: Models = None,
    config: Config = None,
    task: Task = None,
    max_cost_tier: MaxCostTier = None,
    max_price: MaxPrice = None,
    primary_provider: PrimaryProvider = None,
    base_url: BaseUrl = None,
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="The system prompt.")] = None,
    as_json: AsJson = False,
    no_stream: Annotated[bool, typer.Option("--no-stream", help="Print the answer once it is whole.")] = False,
) -> None:
    """Make a call and print the answer as it comes; then say which models failed and which one answered.

    The key comes from OPENROUTER_API_KEY. Without a configuration and --model a chain of well-known models is used.

    \b
      openrouter-fallback chat "Why do fallbacks need a budget?"
      openrouter-fallback chat "Hello" -m openai/gpt-5.1 -m deepseek/deepseek-chat
      git diff | openrouter-fallback chat - --system "Review this." --task coding

    Exit status: 0 answered, 1 the call failed, 2 wrong options, no key, or a wrong configuration.
    """
    from .commands import calls
    from .output.shapes import completion_json

    with failures(as_json=as_json):
        client = calls.client(models, config, base_url, task, max_cost_tier, max_price, primary_provider)
        messages = calls.messages(sys.stdin.read() if prompt == "-" else prompt, system)
        with client:
            if as_json:
                print_json(completion_json(client.chat(messages)))
            else:
                calls.show(client, messages, stream=not no_stream)


@app.command(short_help="Print which models a call would use.")
def route(
    models: Models = None,
    config: Config = None,
    task: Task = None,
    max_cost_tier: MaxCostTier = None,
    max_price: MaxPrice = None,
    primary_provider: PrimaryProvider = None,
    base_url: BaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Print the models that a call would use, in order, and the skipped ones with the reason. Calls no model.

    \b
      openrouter-fallback route --config fallback.yaml
      openrouter-fallback route -c fallback.yaml --task coding --max-price 10

    Exit status: 0 routed, 2 the configuration or an option is wrong.
    """
    from .commands import calls
    from .output.shapes import route_json

    with failures(as_json=as_json):
        found = calls.client(models, config, base_url, task, max_cost_tier, max_price, primary_provider).route()
        if as_json:
            print_json(route_json(found))
        else:
            calls.show_route(found)


@app.command(short_help="Rehearse outages on loopback.")
def drill(
    config: Config = None,
    models: Models = None,
    names: Annotated[
        list[str] | None,
        typer.Option("--scenario", "-s", metavar="NAME", help="Only this scenario, or one of your own in a YAML file."),
    ] = None,
    task: Task = None,
    surface: Annotated[
        Surface | None, typer.Option(help="Call through this, in place of the scenario's surface.", show_default=False)
    ] = None,
    fail_on: Annotated[FailOn, typer.Option(help="The verdict from which on the exit status is 1.")] = FailOn.DEGRADED,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the HTML report here, not over the last one.")
    ] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no HTML report.")] = False,
    list_only: Annotated[bool, typer.Option("--list", help="Print the scenarios and end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put the models of a chain through outages on loopback: no key is used, nothing leaves.

    Each scenario runs with failover and without, against an emulator. The result is a table, and an HTML report of
    one file. Without a configuration and --model an example chain is drilled; --task takes another chain than the
    default one.

    \b
      openrouter-fallback drill
      openrouter-fallback drill -c fallback.yaml -s silent -s refused
      openrouter-fallback drill -c fallback.yaml -s outage.yaml --report a.html
      openrouter-fallback drill -c fallback.yaml --fail-on failed --json   # in CI

    Verdicts: failed, where callers got no answer or a wrong one; degraded, where they waited too long or requests were
    wasted; else passed. Exit status: 0 better than --fail-on, 1 not, 2 wrong options or configuration.
    """
    with failures(as_json=as_json):
        with needs_emulator("The drill", as_json=as_json):
            from .commands import drill as rehearsal
            from .configuration import find
        if list_only:
            rehearsal.show_list(as_json=as_json)
            return
        chosen = find(config), tuple(models or ()), tuple(names or ())
        wanted = rehearsal.Wanted(*chosen, task, surface.value if surface is not None else None)
        target = rehearsal.Target(report, wanted=report is not None or not (as_json or no_report))
        verdict = rehearsal.run(wanted, target, as_json=as_json)
    if rehearsal.as_bad_as(verdict, fail_on.value):
        raise typer.Exit(1)


@app.command(short_help="Be OpenRouter on this machine.")
def emulate(
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="Listen here; 0 takes a free one.")
    ] = 8787,
    script: Annotated[
        Path | None, typer.Option("--script", "-s", metavar="FILE", help="YAML: what goes wrong, and when; answers.")
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option("--model", "-m", metavar="ID", help="A model that exists; may be repeated.")
    ] = None,
    models_file: Annotated[
        str | None, typer.Option("--models", metavar="FILE", help="A GET /models as JSON, or: bundled.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The one key that is accepted; a random one unless given.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Check histories as each provider does.")] = False,
    latency: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Time to the first token.")] = 0.2,
    token_interval: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Time between two tokens.")] = 0.02,
    jitter: Annotated[
        float, typer.Option(min=0, max=1, metavar="SHARE", help="The share by which both times vary.")
    ] = 0.0,
    credits: Annotated[
        float | None, typer.Option(min=0, metavar="USD", help="Credits of the account; then models answer 402.")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Decides what is random.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Be OpenRouter on this machine, for trying and testing without a key, a network or a bill.

    It listens on loopback only, prints the two variables that send a program here, and serves until Ctrl-C. Then it
    says how many requests came, and how many of them met a fault.

    Without --model and --models every author/name exists. A script sets faults over time, requests and providers:

    \b
      faults:
        - {kind: rate_limit_exceeded, model: openai/gpt-5.1, seconds: [5, 20]}
        - {kind: stall, after_tokens: 12, probability: 0.3}

    \b
      openrouter-fallback emulate
      openrouter-fallback emulate --port 9000 -m openai/gpt-5.1 -m own/model
      openrouter-fallback emulate --models bundled --script outage.yaml

    Exit status: 0 stopped, 2 wrong options or configuration.
    """
    with failures(as_json=as_json):
        with needs_emulator("The emulator", as_json=as_json):
            from .commands import emulate as serving
        options = {"api_key": api_key, "latency": latency, "token_interval": token_interval, "jitter": jitter}
        options["strict"] = strict
        known = serving.models(models, models_file)
        serving.serve(known, port=port, script=script, credits=credits, seed=seed, **options, as_json=as_json)


app.command(short_help="Be an OpenAI-compatible server.")(serve)
app.command(short_help="Print the fleet's health, from Redis.")(status)
app.command(short_help="Print what was spent today.")(spend)


@app.command(short_help="Print the JSON Schema of a configuration.")
def schema(as_json: AsJson = False) -> None:
    """Print the JSON Schema (2020-12) of a configuration, for editors and other tools. --json changes nothing.

    \b
      openrouter-fallback schema > fallback.schema.json

    \b
    In an editor with the YAML language server, the file's first line:
      # yaml-language-server: $schema=fallback.schema.json

    Exit status: 0 printed.
    """
    from .. import config_schema

    print_json(config_schema())
