"""`python -m openrouter_fallback.cli`: the same as `openrouter-fallback`."""

from . import main

if __name__ == "__main__":
    main()
