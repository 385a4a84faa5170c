from __future__ import annotations

from collections.abc import Iterator

import pytest

from openrouter_fallback.emulator import Emulator
from openrouter_fallback.emulator.pytest_plugin import openrouter_emulator
from tests.emulator.helpers import Asker

__all__ = ["openrouter_emulator"]


@pytest.fixture
def emulator(openrouter_emulator: Emulator) -> Emulator:
    return openrouter_emulator


@pytest.fixture
def ask(emulator: Emulator) -> Iterator[Asker]:
    asker = Asker(emulator)
    yield asker
    asker.http.close()
