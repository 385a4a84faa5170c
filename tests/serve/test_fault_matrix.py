"""The fault matrix through HTTP, streamed and not: the rows and the judgement of the client's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..call.test_fault_matrix import GOES_ON, Lab, checked, goes_on, laboratory
from ..cases.matrix import CASES, SECOND_TEXT, Case
from ..support.over_http import OverHttp


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with laboratory(OverHttp) as lab:
        yield lab


@pytest.mark.parametrize("surface", ["chat", "stream"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_first_model_is_faulty(lab: Lab, case: Case, surface: str) -> None:
    outcome = lab.ask(case, surface)
    if case.kind is None and case.tools:
        # What a limit has cut off of a call is no call, and stands nowhere in a body.
        assert outcome.answer.finish_reason == "length"
        assert outcome.answer.tool_calls == ()
        return
    checked(lab, case, surface, outcome)


@pytest.mark.parametrize("case", GOES_ON, ids=lambda case: case.id)
def test_the_second_goes_on(lab: Lab, case: Case) -> None:
    outcome = lab.go_on(case, "stream", 5, "continue")
    goes_on(lab, case, outcome, SECOND_TEXT)
