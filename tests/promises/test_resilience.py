"""The scenarios of `benchmarks/resilience.py`, small: what they must answer, whatever the machine's speed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from openrouter_fallback.emulator import Emulator

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "resilience.py"


@pytest.fixture(scope="module")
def resilience() -> ModuleType:
    spec = importlib.util.spec_from_file_location("resilience", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["flaky", "cold_start"])
async def test_every_call_is_answered(resilience: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resilience, "with_fallbacks", lambda emulator: None)
    with Emulator(api_key=resilience.KEY) as emulator:
        rows = await getattr(resilience, name)(emulator, 60)
    assert [row.verdict for row in rows if row.wanted is not None] == ["met"]
