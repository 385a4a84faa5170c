"""The emulator as a pytest fixture. Enable it in a conftest.py with

pytest_plugins = ["openrouter_fallback.emulator.pytest_plugin"]
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import Emulator


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    said = "openrouter_emulator(**arguments): the arguments of the test's `Emulator`, as models=MODELS or script=PATH"
    config.addinivalue_line("markers", said)


@pytest.fixture
def openrouter_emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """A fresh `Emulator` per test: point a client at its `base_url` with its `api_key`, and script it.

    `@pytest.mark.openrouter_emulator(models=MODELS)` gives it arguments.
    """
    marker = request.node.get_closest_marker("openrouter_emulator")
    with Emulator(**(marker.kwargs if marker else {})) as emulator:
        yield emulator
