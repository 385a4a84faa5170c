"""The command line, `openrouter-fallback`: thin commands over the library (extra `cli`)."""

import sys
from importlib.util import find_spec

__all__ = ["main"]

_NEEDED = ("typer", "rich", "rapidfuzz")


def main() -> None:
    """Run the command in `sys.argv`; exits with its status."""
    for name in _NEEDED:
        if find_spec(name) is None:
            print(f'The commands need {name}: pip install "openrouter-fallback[cli]"', file=sys.stderr)
            sys.exit(2)
    try:
        from .app import app

        app()
    except KeyboardInterrupt:
        sys.exit(130)
