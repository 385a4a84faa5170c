"""The emulator as a pytest fixture. Enable the plugin in a conftest.py with

pytest_plugins = ["openrouter_fallback.emulator.pytest_plugin"]
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import Emulator


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker `openrouter_emulator`."""
    line = "openrouter_emulator(**arguments): the arguments of the test's `Emulator`, as models=MODELS or script=PATH"
    config.addinivalue_line("markers", line)


@pytest.fixture
def openrouter_emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """A new, running `Emulator` for each test. A client needs its `base_url` and its `api_key`.

    `@pytest.mark.openrouter_emulator(models=MODELS)` sets the arguments of the `Emulator`.
    """
    marker = request.node.get_closest_marker("openrouter_emulator")
    with Emulator(**(marker.kwargs if marker else {})) as emulator:
        yield emulator
