"""`python -m openrouter_fallback.emulator`: run the emulator until stdin is closed or SIGTERM arrives.

The first line of output is the base URL. The second line is the API key.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from typing import Any

import orjson

from .models.registry import MODELS
from .server import Emulator

_KEPT = 100
"""Requests in the log. No caller reads the log of this process, and the process may run for days."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m openrouter_fallback.emulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free port)")
    parser.add_argument("--api-key", help="the only API key that the emulator accepts (default: a random key)")
    parser.add_argument("--script", help="path of a YAML file with faults, answers and paces")
    parser.add_argument(
        "--models",
        help="models to serve: `bundled`, or the path of a JSON file in the form of `GET /models` (default: any id)",
    )
    parser.add_argument("--credits", type=float, default=None, help="USD on the account (default: unlimited)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random decisions")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds to the first token")
    parser.add_argument("--token-interval", type=float, default=0.0, help="seconds between tokens")
    parser.add_argument("--jitter", type=float, default=0.0, help="share (0 to 1) by which each delay varies")
    parser.add_argument("--tokens", type=int, default=None, help="number of tokens of every answer")
    parser.add_argument("--coalesce", action="store_true", help="send up to 32 stream events in one write")
    parser.add_argument("--strict", action="store_true", help="check each history by the rules of the model's provider")
    chosen = parser.parse_args()
    try:
        emulator = Emulator(
            models=_models(chosen.models),
            api_key=chosen.api_key,
            latency=chosen.latency,
            token_interval=chosen.token_interval,
            jitter=chosen.jitter,
            coalesce=chosen.coalesce,
            credits=chosen.credits,
            strict=chosen.strict,
            script=chosen.script,
            seed=chosen.seed,
            keep=_KEPT,
            port=chosen.port,
        )
        if chosen.tokens is not None:
            emulator.reply(tokens=chosen.tokens)
        emulator.start()
    except (OSError, ValueError) as error:
        sys.exit(f"{parser.prog}: {error}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        print(f"{emulator.base_url}\n{emulator.api_key}", flush=True)
        sys.stdin.read()
    except KeyboardInterrupt:
        pass
    finally:
        emulator.stop()


def _models(given: str | None) -> Sequence[str | dict[str, Any]] | None:
    if given is None or given == "bundled":
        return None if given is None else MODELS
    with open(given, "rb") as file:
        raw = file.read()
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{given} is not JSON: {error}") from None
    entries = found.get("data") if isinstance(found, dict) else found
    if not isinstance(entries, list) or not all(isinstance(one, dict) and one.get("id") for one in entries):
        raise ValueError(f"{given}: expected the body of GET /models (a mapping with `data`) or a list of models")
    return entries


if __name__ == "__main__":
    main()
