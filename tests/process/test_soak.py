"""Many calls at a time under random faults, sync and async, streamed and not: nothing leaks, all is accounted for."""

from __future__ import annotations

import importlib.util
import logging
import sys
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from openrouter_fallback.call.portal import portal
from openrouter_fallback.emulator import Emulator

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("soak", SOAK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "soak", module)  # Its dataclasses look themselves up.
    spec.loader.exec_module(module)
    return module


async def test_nothing_leaks_and_every_call_and_attempt_is_in_the_events(
    soak: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    tally = soak.Tally()
    portal()  # It stays, with its loop's files.
    files = psutil.Process().num_fds()
    with Emulator(seed=7, api_key=soak.KEY) as emulator:
        soak.make_faulty(emulator)
        _, _, before, after = await soak.soak(emulator.base_url, tally, calls=600, settle=200, at_a_time=32)
        requests = {model: emulator.count(model) for model in soak.MODELS}
    assert tally.check(requests) == []
    assert tally.made == 600 + 2 * 32
    assert set(tally.kinds) > {"answered", "bad_answer", "overloaded"}
    assert (after.tasks, after.threads) == (before.tasks, before.threads)
    # Not before the emulator has stopped: its ends of the connections are files of this process too.
    assert psutil.Process().num_fds() <= files
