"""Answers as servers send them, through LangChain: the rows of `cases/answers.py`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from langchain_openrouter_fallback import ChatOpenRouterFallback
from openrouter_fallback import FailureKind

from ..answer.test_foreign_answers import FINE, FIRST, ONCE, SECOND, replies
from ..cases.answers import BAD, GOOD
from ..cases.failures import Case
from ..cases.shapes import SHAPES
from ..support.clients import KEY, PATIENT, undiced
from ..support.rawserver import RawServer, Reply, sse
from .surfaces import STREAMED, SURFACES, ask

ERRORS = [pytest.param(case, SURFACES[at % 4], id=case.name) for at, case in enumerate(SHAPES) if not case.headers]
"""Each shape of an error once; the surfaces take turns."""
SETTINGS = {"first_token_timeout_seconds": PATIENT, "stall_timeout_seconds": PATIENT}
ONE = {name: row for name, row in GOOD.items() if "n" not in row.params}
BADLY = {name: row for name, row in BAD.items() if "n" not in row.params}


@pytest.fixture(scope="module")
def raw() -> Iterator[RawServer]:
    with RawServer() as server:
        yield server


@pytest.fixture(scope="module")
def shared(raw: RawServer) -> Iterator[ChatOpenRouterFallback]:
    model = ChatOpenRouterFallback(models=[FIRST, SECOND], base_url=raw.base_url, api_key=KEY, settings=SETTINGS)
    undiced(model.client)
    yield model
    model.client.close()


@pytest.fixture
def model(shared: ChatOpenRouterFallback) -> ChatOpenRouterFallback:
    shared.client.reset()
    return shared


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("name", ONE)
def test_a_good_answer(raw: RawServer, model: ChatOpenRouterFallback, name: str, surface: str) -> None:
    row = ONE[name]
    raw.answer(replies(row, apart=surface in STREAMED))
    outcome = ask(model, surface, **row.params)
    answer = outcome.answer
    assert (answer.text, answer.response_metadata["finish_reason"]) == (row.text, row.finish)
    assert [(call["name"], call["args"]) for call in answer.tool_calls] == list(row.calls)
    assert answer.invalid_tool_calls == []
    assert outcome.kinds == [None]
    usage = answer.usage_metadata
    assert row.tokens is None or (usage is not None and usage["total_tokens"] == row.tokens)
    if surface in STREAMED:
        assert outcome.delivered == row.text


@pytest.mark.parametrize("surface", ["invoke", "astream"])
@pytest.mark.parametrize("name", BADLY)
def test_a_bad_answer(raw: RawServer, model: ChatOpenRouterFallback, name: str, surface: str) -> None:
    row = BADLY[name]
    only = surface in STREAMED
    raw.answer(Reply([sse(*row.events)], ending=row.ending), *(() if only else (FINE,)))
    outcome = ask(model.with_routing(models=ONCE) if only else model, surface, **row.params)
    if only or row.kind is FailureKind.CONTENT_POLICY:
        assert outcome.raised.attempts[0].kind is row.kind
        return
    assert outcome.answer.text == "Whole, from the second."
    assert outcome.kinds[0] == row.kind


@pytest.mark.parametrize(("case", "surface"), ERRORS)
def test_an_error_in_any_shape(raw: RawServer, model: ChatOpenRouterFallback, case: Case, surface: str) -> None:
    raw.answer(Reply([case.content], case.status, "application/json"))
    raised = ask(model.with_routing(models=ONCE), surface, total_timeout=5).raised
    first = raised.attempts[0]
    assert (first.kind, first.status) == (case.kind, case.extras.get("status", first.status))
    assert case.says in first.message
