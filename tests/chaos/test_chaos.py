"""A thousand calls against a server of hostile bytes. `python -m tests.chaos --calls 50000` makes more of them."""

from __future__ import annotations

import pytest

from .faults import FAULTS
from .suite import run

SEED = 7
HALF = 500


@pytest.mark.parametrize("seed", [SEED, SEED + 1])
def test_each_call_is_answered_rightly_or_raises_one_of_our_errors(seed: int) -> None:
    findings, used = run(HALF, seed)
    assert findings.wrong == []
    assert findings.answered + sum(findings.failed.values()) == HALF
    assert findings.answered > HALF / 2
    assert findings.failed, "some calls are faulty whatever is called"
    assert set(used) >= {fault.__name__ for fault in FAULTS}
