"""The fault matrix through the four ways to chat in LlamaIndex: the rows and the judgement of the core's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent

from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback import FallbackError

from ..call.test_fault_matrix import (
    Lab,
    laboratory,
    test_nobody_goes_on_where_no_other_model_would_be_asked,
    test_the_first_model_is_faulty,
    test_the_second_goes_on,
)
from ..cases.matrix import CASES, Case
from ..conftest import Matrix
from ..support.clients import undiced
from ..support.llamaindex import AsClient
from ..support.matrix import fault, models

__all__ = [
    "test_nobody_goes_on_where_no_other_model_would_be_asked",
    "test_the_first_model_is_faulty",
    "test_the_second_goes_on",
]


class _Rows(dict[str, dict[str, str]]):
    """The rows of the printed table that are this module's."""

    def __init__(self, table: Matrix) -> None:
        self._table = table

    def setdefault(self, row: str, cells: Any = None) -> dict[str, str]:
        return self._table.setdefault(f"LlamaIndex: {row}", cells)


@pytest.fixture(scope="module")
def fault_matrix(fault_matrix: Matrix) -> Matrix:
    return _Rows(fault_matrix)


def _as_client(**options: Any) -> AsClient:
    llm = OpenRouterFallback(**options)
    undiced(llm.client)
    return AsClient(llm)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with laboratory(_as_client) as lab:
        yield lab


@pytest.mark.parametrize("broken", ["every request", "after the tool"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_an_agent_runs_its_tool_once(lab: Lab, case: Case, broken: str) -> None:
    """The agent asks twice: for a call of the tool, and with its result. Nothing is run twice or by halves."""
    llm = lab.clients[case.hasty, True].llm  # type: ignore[attr-defined]
    lab.emulator.clear()
    lab.emulator.pace(token_interval=0.0)
    llm.client.reset()
    ran: list[str] = []

    def look_up(query: str) -> str:
        """Look something up."""
        ran.append(query)
        return "found it"

    routed = llm.with_options(models=models(case))
    routed.additional_kwargs = {"mid_stream": "continue"}
    agent: Any = FunctionAgent(tools=[look_up], llm=routed)
    asked = None if broken == "every request" else (2, None)
    fault(lab.emulator, case, requests=asked)

    error = answer = None
    try:
        answer = await agent.run("look_up 'the seam'")
    except FallbackError as raised:
        error = raised

    first_is_asked_for_it = broken == "every request"
    if error is not None:
        assert answer is None
        assert type(error) in (case.raises, case.interrupted)
        assert ran == ([] if first_is_asked_for_it else ["the seam"])
    elif case.kind is None and "text" in case.answer:
        # The first answers after all, and not with a whole call.
        assert ran == ([] if first_is_asked_for_it else ["the seam"])
    else:
        assert case.raises is None or not first_is_asked_for_it
        assert ran == ([] if case.no_arguments and first_is_asked_for_it else ["the seam"])
        # Where no model has words behind a tool's result, that is the answer: it has said all before.
        assert str(answer) or (case.fault == "empty" and case.everywhere and not first_is_asked_for_it)
