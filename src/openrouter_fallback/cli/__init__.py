"""The command line, `openrouter-fallback chat | route | drill`: thin commands over the library (extra `cli`)."""

import sys

__all__ = ["main"]

_NEEDED = ("typer", "rich")


def main() -> None:
    """Run the command in `sys.argv`; exits with its status."""
    try:
        from openrouter_fallback.cli.app import app
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in _NEEDED:
            raise
        print(f'The commands need {missing.name}: pip install "openrouter-fallback[cli]"', file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    app()
