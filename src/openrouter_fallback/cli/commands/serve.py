"""The command `serve`: the chain behind an OpenAI-compatible server."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ..options import AsJson, BaseUrl, Config, Models
from ..output.terminal import failures, print_error, print_json, say


def serve(
    config: Config = None,
    models: Models = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Listen here; not loopback: needs keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="PORT", help="0 takes a free one.")] = 8788,
    api_keys_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML: the API keys and their chains; or set SERVE_API_KEY.")
    ] = None,
    cors_origin: Annotated[
        list[str] | None, typer.Option(metavar="ORIGIN", help="A web page that may call; may be repeated.")
    ] = None,
    drain_seconds: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long calls may last after SIGTERM.")
    ] = 30.0,
    max_calls: Annotated[int, typer.Option(min=1, metavar="N", help="Calls at a time; one more gets a 503.")] = 1000,
    max_body: Annotated[int, typer.Option(min=1, metavar="MIB", help="The largest body.")] = 32,
    workers: Annotated[int, typer.Option(min=1, max=256, metavar="N", help="Processes that share the port.")] = 1,
    no_access_log: Annotated[
        bool, typer.Option("--no-access-log", help="Without the line of JSON on stdout for each call.")
    ] = False,
    base_url: BaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Serve the chain over HTTP as OpenAI does, for any client that can be given a base URL.

    `model` chooses: default, task:NAME, tier:NAME, provider:NAME, or a model of the configuration, which then is the
    first of the chain. The OpenRouter key comes from OPENROUTER_API_KEY and is never shown to a client. Also there:
    GET /v1/models, /healthz, /readyz, /metrics. SIGTERM lets calls end; a second one does not.

    \b
      openrouter-fallback serve --config fallback.yaml
      openrouter-fallback serve -m openai/gpt-5.1 -m own/model --port 9000
      openrouter-fallback serve -c f.yaml --host 0.0.0.0 --api-keys-file k.yaml

    Exit status: 0 stopped, 2 wrong options or configuration.
    """
    from ... import ConfigError
    from .. import configuration
    from ..credentials import without_key
    from . import calls

    with failures(as_json=as_json, service=True), _numbers(workers):
        try:
            from ... import serve as serving
        except ImportError as missing:
            if (missing.name or "").startswith("openrouter_fallback"):
                raise
            message = str(missing)
            if as_json:
                print_error("ImportError", message)
            else:
                say(message)
            raise typer.Exit(2) from None
        options = serving.Options(
            host=host,
            port=port,
            keys=serving.ApiKeys.load(api_keys_file),
            origins=tuple(cors_origin or ()),
            drain_seconds=drain_seconds,
            access_log=not no_access_log,
            bounds=serving.Bounds(calls=max_calls, body_bytes=max_body * 2**20),
        )
        if config is None and not models and not configuration.there():
            raise ConfigError("nothing to serve: give --config fallback.yaml (init writes one), or models with --model")
        client = calls.client(models, config, base_url)

        if not no_access_log:  # with --json stdout holds one object and nothing else
            serving.access_log_to(sys.stderr if as_json else sys.stdout)

        for one in without_key(client.config):
            say(f"{one.level}: {one.about}: {one.text}, so calls of its models fail; {one.step}")

        def started(url: str) -> None:
            if as_json:
                print_json({"base_url": url})
            else:
                say(f"Serving at {url}; Ctrl-C stops it.")

        serving.serve(client, options, started, workers=workers)


@contextmanager
def _numbers(workers: int) -> Iterator[None]:
    """A directory in which several workers add up their metrics; prometheus_client looks for it when it is imported."""
    if workers == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="openrouter-fallback-") as directory:
        os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", directory)
        yield
