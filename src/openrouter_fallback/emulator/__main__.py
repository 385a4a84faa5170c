"""`python -m openrouter_fallback.emulator`: serve until stdin closes or SIGTERM; the first line is the base URL."""

from __future__ import annotations

import argparse
import signal
import sys

from openrouter_fallback.emulator.server import Emulator


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m openrouter_fallback.emulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="a free one unless given")
    parser.add_argument("--api-key", default="sk-or-v1-emulator")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds to the first token")
    parser.add_argument("--token-interval", type=float, default=0.0, help="seconds between tokens")
    parser.add_argument("--tokens", type=int, default=None, help="tokens of every answer")
    parser.add_argument("--coalesce", action="store_true", help="send up to 32 events at a time")
    chosen = parser.parse_args()
    emulator = Emulator(
        api_key=chosen.api_key,
        latency=chosen.latency,
        token_interval=chosen.token_interval,
        coalesce=chosen.coalesce,
        port=chosen.port,
    )
    if chosen.tokens is not None:
        emulator.reply(tokens=chosen.tokens)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with emulator:
        print(emulator.base_url, flush=True)
        try:
            sys.stdin.read()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
