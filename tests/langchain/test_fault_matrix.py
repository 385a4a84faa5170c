"""The fault matrix through LangChain: {invoke, ainvoke, stream, astream} x every row of `cases/matrix.py`, and the same
rows through `create_agent` with a tool that runs exactly once for a call that was complete."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.exceptions import ModelError
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.tools import tool

from langchain_openrouter_fallback import ChatOpenRouterFallback
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.failures.kinds import FailureKind

from ..cases.matrix import CASES, FIRST, FIRST_TEXT, SECOND, SECOND_CALL, SECOND_TEXT, Case
from ..conftest import Matrix
from ..support.clients import undiced
from ..support.matrix import PACE, config, fault, models, script, served, settings
from .surfaces import STREAMED, SURFACES, Outcome, ask


@dataclass
class Lab:
    """One emulator for the whole matrix, and a chat model each for (hasty, going on)."""

    emulator: Emulator
    models: Mapping[tuple[bool, bool], ChatOpenRouterFallback]

    def model(self, case: Case, *, going_on: bool = False) -> ChatOpenRouterFallback:
        self.emulator.clear()
        model = self.models[case.hasty, going_on]
        model.client.reset()
        return model.with_routing(models=models(case))

    def asked(self) -> tuple[int, int]:
        return self.emulator.count(FIRST), self.emulator.count(SECOND)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with served() as emulator:
        made = {}
        for hasty, going_on in product((False, True), repeat=2):
            made[hasty, going_on] = ChatOpenRouterFallback(
                config=config(emulator),
                api_key=emulator.api_key,
                settings=settings(hasty=hasty),
                mid_stream="continue" if going_on else "raise",
            )
            undiced(made[hasty, going_on].client)
        yield Lab(emulator, made)
        for model in made.values():
            model.client.close()


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_first_model_is_faulty(lab: Lab, fault_matrix: Matrix, case: Case, surface: str) -> None:
    cells = fault_matrix.setdefault(case.id, {})
    cells[f"LangChain {surface}"] = "FAILED"
    model = lab.model(case)
    params = script(lab.emulator, case, streamed=surface in STREAMED)
    cells[f"LangChain {surface}"] = _checked(lab, case, ask(model, surface, **params))


@pytest.mark.parametrize("surface", STREAMED)
@pytest.mark.parametrize(
    "case", [case for case in CASES if case.text_first and case.raises is None], ids=lambda case: case.id
)
def test_the_second_goes_on(lab: Lab, case: Case, surface: str) -> None:
    model = lab.model(case, going_on=True)
    lab.emulator.pace(token_interval=PACE)
    lab.emulator.reply(text=SECOND_TEXT)
    fault(lab.emulator, case)

    outcome = ask(model, surface)

    assert outcome.delivered == outcome.answer.text == SECOND_TEXT
    assert outcome.kinds == [str(case.kind), None]
    for seam in outcome.answer.response_metadata.get("seams", []):
        assert (seam["before"], seam["after"]) == (FIRST, SECOND)


def _checked(lab: Lab, case: Case, outcome: Outcome) -> str:
    """What came of it, as a cell of the table."""
    if outcome.error is not None:
        _nothing_half_done(outcome)
    if case.kind is None:
        _the_first_answers(case, outcome)
        cell, expected = "first", (case.asked, 0)
    elif outcome.delivered and outcome.error is not None:
        _interrupted(case, outcome)
        cell, expected = f"{type(outcome.error).__name__}, text out", (len(outcome.error.attempts), 0)
    elif case.raises is not None:
        assert isinstance(outcome.raised, case.raises)
        assert outcome.delivered == ""
        cell, expected = type(outcome.raised).__name__, (case.asked, case.asked_second if case.everywhere else 0)
    else:
        _the_second_answers(case, outcome)
        cell, expected = "second", (case.asked, 1)
    assert lab.asked() == expected
    return f"{cell} {expected[0]}+{expected[1]}"


def _nothing_half_done(outcome: Outcome) -> None:
    assert isinstance(outcome.error, ModelError)
    assert not outcome.error.is_retryable
    for chunk in outcome.chunks:
        assert chunk.tool_calls == chunk.invalid_tool_calls == chunk.tool_call_chunks == []


def _the_first_answers(case: Case, outcome: Outcome) -> None:
    expected = {"text": FIRST_TEXT, "finish_reason": "stop", **case.answer}
    answer = outcome.answer
    assert (answer.text, answer.response_metadata["finish_reason"]) == (expected["text"], expected["finish_reason"])
    assert answer.response_metadata["model_name"] == FIRST
    assert (answer.tool_calls, answer.invalid_tool_calls) == ([], [])
    assert len(answer.additional_kwargs.get("cut_tool_calls", [])) == (1 if case.tools else 0)
    assert outcome.kinds == [*map(str, case.before), None]


def _the_second_answers(case: Case, outcome: Outcome) -> None:
    answer = outcome.answer
    assert answer.response_metadata["model_name"] == SECOND
    if case.tools:
        (call,) = answer.tool_calls
        assert {"name": call["name"], "arguments": call["args"], "id": call["id"]} == SECOND_CALL
        assert (answer.text, answer.response_metadata["finish_reason"]) == ("", "tool_calls")
    else:
        assert (answer.text, answer.tool_calls) == (SECOND_TEXT, [])
    assert answer.invalid_tool_calls == []
    attempts = max(case.asked, 2 if case.kind is FailureKind.CONNECTION else 1)
    assert outcome.kinds == [str(case.kind)] * attempts + [None]


def _interrupted(case: Case, outcome: Outcome) -> None:
    assert case.text_first
    assert isinstance(outcome.raised, case.interrupted)
    assert outcome.raised.partial == outcome.delivered
    assert FIRST_TEXT.startswith(outcome.delivered)
    assert {attempt.kind for attempt in outcome.raised.attempts} == {case.kind}


# Agents


@dataclass
class Bench:
    """An agent with a tool that notes how it was called."""

    model: ChatOpenRouterFallback
    runs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        @tool
        def look_up(query: str) -> str:
            """Look something up."""
            self.runs.append(query)
            return f"nothing about {query}"

        self.agent: Any = create_agent(self.model, tools=[look_up])

    async def run(self, surface: str) -> list[Any]:
        """The messages that the agent ends with; where it streams, all that was streamed of the answers' text too."""
        asked: Any = {"messages": [HumanMessage("Please look_up 'whales'")]}
        if surface == "invoke":
            return list((await asyncio.to_thread(self.agent.invoke, asked))["messages"])
        if surface == "ainvoke":
            return list((await self.agent.ainvoke(asked))["messages"])
        messages: list[Any] = []
        said = ""
        async for mode, data in self.agent.astream(asked, stream_mode=["messages", "values"]):
            if mode == "values":
                messages = data["messages"]
            elif isinstance(data[0], AIMessageChunk):
                said += data[0].text
        assert said == "".join(message.text for message in messages if isinstance(message, AIMessage))
        return messages


@pytest.mark.parametrize("surface", ["invoke", "ainvoke", "astream"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_an_agents_tool_runs_once_for_a_complete_call(lab: Lab, case: Case, surface: str) -> None:
    bench = Bench(lab.model(case, going_on=True))
    lab.emulator.pace(token_interval=0.0)
    fault(lab.emulator, case)
    in_words = "text" in case.answer  # the row's good answer holds no whole call
    if case.raises is not None:
        with pytest.raises((case.raises, case.interrupted)):
            await bench.run(surface)
        assert bench.runs == []
        return
    messages = await bench.run(surface)
    assert bench.runs == ([] if in_words or case.no_arguments else ["whales"])
    assert [message.type for message in messages] == (["human", "ai"] if in_words else ["human", "ai", "tool", "ai"])
