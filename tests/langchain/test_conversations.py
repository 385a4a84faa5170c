"""Conversations of three turns in which a model dies, and those that another program or chat model has begun.

The emulator checks each history as the servers of its model do; a graph keeps its messages in SQLite, and each turn is
of a new agent that knows nothing but the checkpoint.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, tool
from langchain_openai import ChatOpenAI
from langchain_openrouter import ChatOpenRouter

from openrouter_fallback import FallbackClient
from openrouter_fallback.emulator import Emulator

from .conftest import CLAUDE, GPT, Make

sqlite_saver = pytest.importorskip("langgraph.checkpoint.sqlite", reason="needs langgraph-checkpoint-sqlite")

KIMI, MISTRAL = "moonshotai/kimi-k2-thinking", "mistralai/mistral-large-2512"
GEMINI, NEW_CLAUDE, DEEPSEEK = "google/gemini-3-pro-preview", "anthropic/claude-sonnet-4.6", "deepseek/deepseek-v3.2"
CHAINS = [(KIMI, CLAUDE), (NEW_CLAUDE, MISTRAL), (GPT, GEMINI)]
TURNS = ("Rome", "Oslo", "Lima")
SETTINGS = {"retry_budget": None, "min_samples": 1000, "catalog": "never"}
REASONING = {"effort": "low"}
THREAD: Any = {"configurable": {"thread_id": "one"}}

Answer = Callable[..., Any]
Write = Callable[[Emulator, str], AbstractContextManager[BaseChatModel]]


class Tools:
    """A tool that notes for which cities it ran."""

    def __init__(self) -> None:
        self.ran: Counter[str] = Counter()

    def get_weather(self) -> BaseTool:
        @tool
        def get_weather(city: str) -> str:
            """The weather of a city."""
            self.ran[city] += 1
            return "sunny"

        return get_weather


@pytest.fixture
def tools() -> Tools:
    return Tools()


@pytest.fixture
def turn(tmp_path: Path, tools: Tools) -> Answer:
    """Runs one turn of the conversation by an agent of its own; `None` goes on where the last one stopped."""
    saved = tmp_path / "checkpoints.sqlite"

    def run(llm: BaseChatModel, text: str | None, **arguments: Any) -> list[Any]:
        with closing(sqlite3.connect(saved, check_same_thread=False)) as connection:
            saver = sqlite_saver.SqliteSaver(connection)
            agent = create_agent(llm, [tools.get_weather()], checkpointer=saver, **arguments)
            asked: Any = None if text is None else {"messages": [HumanMessage(text)]}
            for _ in agent.stream(asked, THREAD, stream_mode="messages"):
                pass
            messages: list[Any] = agent.get_state(THREAD).values["messages"]
            return messages

    return run


def question(city: str) -> str:
    """What the emulator answers with a call of the tool."""
    return f'Please call get_weather for "{city}"'


def refusals(emulator: Emulator) -> list[tuple[str | None, int | None]]:
    """The requests that were refused for what stands in them."""
    return [(one.model, one.status) for one in emulator.log if one.status in (400, 404, 422)]


def check(messages: list[Any], tools: Tools) -> None:
    """Each call was answered once, by a tool that ran once; the last word is the model's."""
    calls = [call for message in messages if isinstance(message, AIMessage) for call in message.tool_calls]
    answered = [message.tool_call_id for message in messages if isinstance(message, ToolMessage)]
    assert len({call["id"] for call in calls}) == len(calls)
    assert answered == [call["id"] for call in calls]
    assert tools.ran == Counter(call["args"]["city"] for call in calls)
    assert messages[-1].text


@pytest.mark.parametrize("fault", ["provider_overloaded", "cut"], ids=["before", "in its answer"])
@pytest.mark.parametrize("death", range(1, 7))
@pytest.mark.parametrize("chain", CHAINS, ids=" then ".join)
def test_three_turns_with_a_death_at_each_point(
    emulator: Emulator, make: Make, turn: Answer, tools: Tools, chain: tuple[str, str], death: int, fault: str
) -> None:
    more: dict[str, Any] = {"after_tokens": 3} if fault == "cut" else {}
    emulator.fault(fault, model=chain[0], requests=(death, death), **more)
    messages: list[Any] = []
    for city in TURNS:
        llm = make(models=list(chain), settings=SETTINGS, reasoning=REASONING)
        messages = turn(llm, question(city))
        assert [one for one in llm.client.route().learnt if one.value != "prefill"] == []
    assert tools.ran == dict.fromkeys(TURNS, 1)
    check(messages, tools)
    assert refusals(emulator) == []


@contextmanager
def ours(emulator: Emulator, model: str) -> Iterator[BaseChatModel]:
    from langchain_openrouter_fallback import ChatOpenRouterFallback

    yield ChatOpenRouterFallback(
        models=[model], base_url=emulator.base_url, api_key=emulator.api_key, settings=SETTINGS, reasoning=REASONING
    )


@contextmanager
def openrouters(emulator: Emulator, model: str) -> Iterator[BaseChatModel]:
    given: Any = {"api_key": emulator.api_key, "base_url": emulator.base_url}
    llm = ChatOpenRouter(model=model, reasoning=REASONING, **given)
    with llm.client.sdk_configuration.client:  # the SDK beneath never closes it
        yield llm


@contextmanager
def openais(emulator: Emulator, model: str) -> Iterator[BaseChatModel]:
    given: Any = {"api_key": emulator.api_key, "base_url": emulator.base_url}
    with httpx.Client() as http:  # its own is never closed
        yield ChatOpenAI(model=model, extra_body={"reasoning": REASONING}, http_client=http, **given)


WRITERS = (CLAUDE, NEW_CLAUDE, GPT, GEMINI, MISTRAL, KIMI, DEEPSEEK)
READERS = (GPT, CLAUDE, MISTRAL, KIMI, GEMINI)
# Each writer by each chat model, read by another family each time.
PAIRS = [
    pytest.param(write, writer, READERS[(number + row) % len(READERS)], id=f"{write.__name__} {writer} {number}")
    for number, write in enumerate((ours, openrouters, openais))
    for row, writer in enumerate(WRITERS)
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("write", "writer", "reader"), PAIRS)
def test_a_checkpoint_of_another_chat_model_is_resumed_by_ours(
    emulator: Emulator, make: Make, turn: Answer, tools: Tools, write: Write, writer: str, reader: str
) -> None:
    """It stops before the tool runs: the loop is open, and its end is ours."""
    with write(emulator, writer) as other:
        turn(other, question("Rome"), interrupt_before=["tools"])
    written = len(emulator.log)
    llm = make(models=[reader], settings=SETTINGS, reasoning=REASONING)
    turn(llm, None)
    messages = turn(llm, question("Oslo"))
    check(messages, tools)
    assert tools.ran == {"Rome": 1, "Oslo": 1}
    assert [one.status for one in emulator.log[written:]] == [200] * (len(emulator.log) - written)
    assert [one for one in llm.client.route().learnt if one.fact == "form"] == []


def test_a_thread_stays_with_the_model_that_it_failed_over_to(
    emulator: Emulator, make: Make, turn: Answer, tools: Tools
) -> None:
    llm = make(models=[KIMI, CLAUDE], settings={**SETTINGS, "stick_to": "thread"})
    fault = emulator.fault("provider_overloaded", model=KIMI)
    turn(llm, question("Rome"))
    fault.clear()
    messages = turn(llm, question("Oslo"))
    check(messages, tools)
    assert [one.model for one in emulator.log] == [KIMI, *[CLAUDE] * 4]
    assert all("thread_id" not in one.body for one in emulator.log)
    client: FallbackClient = llm.client
    assert client.route(thread_id="one").candidates == (CLAUDE, KIMI)
    assert client.route(thread_id="another").candidates == (KIMI, CLAUDE)
    llm.invoke("Hi", THREAD)
    llm.invoke("Hi", {"configurable": {"thread_id": "another"}})
    assert [one.model for one in emulator.log[-2:]] == [CLAUDE, KIMI]
