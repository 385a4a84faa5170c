"""The emulator as a pytest fixture. Enable it in a conftest.py with

pytest_plugins = ["openrouter_fallback.emulator.pytest_plugin"]
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from openrouter_fallback.emulator import Emulator


@pytest.fixture
def openrouter_emulator() -> Iterator[Emulator]:
    """A fresh `Emulator` per test: point a client at its `base_url` with its `api_key`, and script it."""
    with Emulator() as emulator:
        yield emulator
