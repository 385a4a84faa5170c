"""Answers as servers send them, through LlamaIndex: the rows of `cases/answers.py`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback import FailureKind

from ..answer.test_foreign_answers import FINE, FIRST, ONCE, SECOND, replies
from ..cases.answers import BAD, GOOD
from ..cases.failures import Case
from ..cases.shapes import SHAPES
from ..support.clients import KEY, PATIENT, undiced
from ..support.llamaindex import AsClient
from ..support.rawserver import RawServer, Reply, sse
from ..support.surfaces import STREAMED, SURFACES, ask

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
def shared(raw: RawServer) -> Iterator[AsClient]:
    llm = OpenRouterFallback(models=[FIRST, SECOND], api_base=raw.base_url, api_key=KEY, settings=SETTINGS)
    undiced(llm.client)
    client = AsClient(llm)
    yield client
    client.close()


@pytest.fixture
def client(shared: AsClient) -> AsClient:
    shared.reset()
    return shared


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("name", ONE)
def test_a_good_answer(raw: RawServer, client: AsClient, name: str, surface: str) -> None:
    row = ONE[name]
    raw.answer(replies(row, apart=surface in STREAMED))
    outcome = ask(client, surface, **row.params)  # type: ignore[arg-type]
    answer = outcome.answer
    assert (answer.text, answer.finish_reason) == (row.text, row.finish)
    assert [(call.name, call.arguments) for call in answer.tool_calls] == list(row.calls)
    assert [attempt.kind for attempt in answer.attempts] == [None]
    assert row.tokens is None or (answer.usage is not None and answer.usage.total_tokens == row.tokens)
    if surface in STREAMED:
        assert outcome.delivered == row.text
        assert [call for piece in outcome.pieces for call in piece.tool_calls] == list(answer.tool_calls)


@pytest.mark.parametrize("surface", ["chat", "astream"])
@pytest.mark.parametrize("name", BADLY)
def test_a_bad_answer(raw: RawServer, client: AsClient, name: str, surface: str) -> None:
    row = BADLY[name]
    only = {"models": ONCE} if surface in STREAMED else {}
    raw.answer(Reply([sse(*row.events)], ending=row.ending), *(() if only else (FINE,)))
    outcome = ask(client, surface, **row.params, **only)  # type: ignore[arg-type]
    if only or row.kind is FailureKind.CONTENT_POLICY:
        assert outcome.raised.attempts[0].kind is row.kind
        return
    assert outcome.answer.text == "Whole, from the second."
    assert outcome.answer.attempts[0].kind is row.kind


@pytest.mark.parametrize(("case", "surface"), ERRORS)
def test_an_error_in_any_shape(raw: RawServer, client: AsClient, case: Case, surface: str) -> None:
    raw.answer(Reply([case.content], case.status, "application/json"))
    raised = ask(client, surface, models=ONCE, total_timeout=5).raised  # type: ignore[arg-type]
    first = raised.attempts[0]
    assert (first.kind, first.status) == (case.kind, case.extras.get("status", first.status))
    assert case.says in first.message
