"""`python -m openrouter_fallback`: the same as `openrouter-fallback`."""

from .cli import main

if __name__ == "__main__":
    main()
