"""The command `emulate`: an emulator that serves until it is interrupted."""

from __future__ import annotations

import errno
import json
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from ... import ConfigError
from ...emulator import MODELS, Emulator
from ..output.terminal import print_json, say

_KEPT = 100  # requests in the log, which is not read here: it may serve for days


def models(ids: Sequence[str] | None, file: str | None) -> list[Any] | None:
    """The models that exist, from the options; None: all that one can think of. Raises `ConfigError`."""
    entries: list[Any] = [*(ids or ())]
    if file == "bundled":
        entries += MODELS
    elif file is not None:
        entries += _entries(file)
    return entries or None


def _entries(file: str) -> list[Any]:
    try:
        found = json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--models {file}: {error.strerror}; name a JSON file, or: bundled") from None
    except ValueError as error:
        raise ConfigError(f"--models {file}: this is no JSON: {error}") from None
    entries = found.get("data") if isinstance(found, dict) else found
    if not isinstance(entries, list) or not all(isinstance(one, dict) and one.get("id") for one in entries):
        raise ConfigError(f"--models {file}: expected what GET /models answers: `data`, a list of models with an `id`")
    return entries


def serve(
    known: Sequence[Any] | None,
    *,
    port: int,
    script: Path | None,
    credits: float | None,
    seed: int,
    as_json: bool,
    **pace: Any,
) -> None:
    """Serve until SIGINT or SIGTERM, then say what came. Raises `ConfigError` where that cannot be begun."""
    with _until_interrupted() as interrupted:
        try:
            emulator = Emulator(known, port=port, script=script, credits=credits, seed=seed, keep=_KEPT, **pace).start()
        except OSError as error:
            why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be opened ({error.strerror})"
            raise ConfigError(f"port {port} {why}; choose another with --port, or --port 0 for a free one") from None
        except ValueError as error:
            raise ConfigError(str(error)) from None
        try:
            _announce(emulator, as_json=as_json)
            interrupted.wait()
        finally:
            emulator.stop()
        say(f"\n{summary(emulator.tally)}")


def summary(tally: Counter[str | None]) -> str:
    """How many requests came, and how many of them met which fault."""
    met = ", ".join(f"{kind} {count}" for kind, count in tally.most_common() if kind is not None)
    came = tally.total()
    requests = f"{came} request{'' if came == 1 else 's'}"
    return f"Stopped after {requests}{f', of which with a fault: {met}' if met else ''}."


def _announce(emulator: Emulator, *, as_json: bool) -> None:
    if as_json:
        print_json({"base_url": emulator.base_url, "api_key": emulator.api_key})
        return
    say("An emulated OpenRouter is listening; Ctrl-C stops it. In another terminal:\n")
    typer.echo(f"export OPENROUTER_BASE_URL={emulator.base_url}")
    typer.echo(f"export OPENROUTER_API_KEY={emulator.api_key}")


@contextmanager
def _until_interrupted() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, also in a process that a shell started in the background."""
    interrupted = threading.Event()
    before = {number: signal.signal(number, lambda *_: interrupted.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
