"""A thousand calls to a server of hostile bytes. `python -m tests.chaos --calls 50000` makes more calls."""

from __future__ import annotations

import pytest

from openrouter_fallback import FallbackError
from openrouter_fallback.events import CallEnded

from .faults import FAULTS
from .suite import KEY, OTHER_KEY, Findings, run

SEED = 7
HALF = 500


@pytest.mark.parametrize("seed", [SEED, SEED + 1])
def test_each_call_is_answered_rightly_or_raises_one_of_our_errors(seed: int) -> None:
    findings, used = run(HALF, seed)
    assert findings.wrong == []
    assert findings.answered + sum(findings.failed.values()) == HALF
    assert findings.answered > HALF / 2
    assert findings.failed, "some calls are faulty whatever is called"
    assert findings.events > 2 * HALF
    assert set(used) >= {fault.__name__ for fault in FAULTS}


def test_the_suite_finds_a_key() -> None:
    findings = Findings()
    findings.event(CallEnded(1, "failed", None, 0, 0.1, f"Odd{KEY}", ()))
    found = len(findings.wrong)
    assert found
    error = FallbackError("no")
    error.__cause__ = ValueError(OTHER_KEY)
    findings.error("chat", "nonce-1", error)
    assert len(findings.wrong) == found, "what an error leads to is searched once no call is under way"
    findings.search_kept()
    assert len(findings.wrong) > found
