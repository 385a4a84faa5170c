"""Engines over the LLM: answers go on coming while models fail, and errors come up unchanged from every depth.

What is synchronous is called in a thread, as an async application has to: called in a running loop, LlamaIndex makes
another loop for it in a thread of its own, and closes that one without an end to its connections.
"""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llama_index.core import Document, MockEmbedding, Settings, SummaryIndex, VectorStoreIndex
from llama_index.core.base.response.schema import AsyncStreamingResponse, StreamingResponse
from llama_index.core.chat_engine.types import ChatMode
from llama_index.core.evaluation import FaithfulnessEvaluator
from llama_index.core.extractors import KeywordExtractor, TitleExtractor
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.output_parsers import PydanticOutputParser
from llama_index.core.program import FunctionCallingProgram, LLMTextCompletionProgram
from llama_index.core.query_engine import RouterQueryEngine, SubQuestionQueryEngine
from llama_index.core.question_gen import LLMQuestionGenerator
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.selectors import LLMSingleSelector, PydanticSingleSelector
from llama_index.core.tools import QueryEngineTool
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel

from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback import AllModelsFailedError, AuthenticationError, FallbackError
from openrouter_fallback.emulator import Emulator

from ..cases.matrix import FIRST, SECOND

TEXT = "Seams join what two models have said."
DOCUMENTS = [Document(text=f"Seam number {n} joins two texts. " * 20, id_=str(n)) for n in range(3)]


@pytest.fixture(scope="module")
def index() -> VectorStoreIndex:
    return VectorStoreIndex.from_documents(DOCUMENTS, embed_model=MockEmbedding(embed_dim=8))


@pytest.fixture(autouse=True)
def settings(llm: OpenRouterFallback) -> Iterator[None]:
    """The LLM of everything that is given none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Settings, "_llm", None)
        patch.setattr(Settings, "_embed_model", None)
        Settings.llm = llm
        Settings.embed_model = MockEmbedding(embed_dim=8)
        yield


@pytest.fixture(params=[False, True], ids=["healthy", "first down"])
def served_by(request: pytest.FixtureRequest, emulator: Emulator) -> str:
    """Who answers."""
    if request.param:
        emulator.fault("overloaded", model=FIRST)
    return SECOND if request.param else FIRST


def who(emulator: Emulator) -> str | None:
    """Who was asked last."""
    return emulator.log[-1].model


MODES = [mode for mode in ResponseMode if mode not in (ResponseMode.NO_TEXT, ResponseMode.CONTEXT_ONLY)]
# Theirs, not ours: these do not stream.
UNSTREAMED = (ResponseMode.ACCUMULATE, ResponseMode.COMPACT_ACCUMULATE)


@pytest.mark.parametrize("mode", MODES)
async def test_a_query_engine(index: VectorStoreIndex, emulator: Emulator, served_by: str, mode: ResponseMode) -> None:
    emulator.reply(text=TEXT)
    runtime = index.as_query_engine(response_mode=mode, similarity_top_k=2)

    response = await to_thread(runtime.query, "What do seams do?")
    assert TEXT in str(response)
    assert who(emulator) == served_by

    response = await runtime.aquery("What do seams do?")
    assert TEXT in str(response)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode not in UNSTREAMED])
async def test_a_streaming_query_engine(
    index: VectorStoreIndex, emulator: Emulator, served_by: str, mode: ResponseMode
) -> None:
    emulator.reply(text=TEXT)
    runtime = index.as_query_engine(response_mode=mode, similarity_top_k=2, streaming=True)

    response: Any = await to_thread(runtime.query, "What do seams do?")
    assert isinstance(response, StreamingResponse)
    assert "".join(response.response_gen) == TEXT

    response = await runtime.aquery("What do seams do?")
    assert isinstance(response, AsyncStreamingResponse)
    assert "".join([token async for token in response.response_gen]) == TEXT
    assert who(emulator) == served_by


def test_a_query_goes_on_in_mid_answer(index: VectorStoreIndex, emulator: Emulator) -> None:
    emulator.reply(text=TEXT)
    emulator.pace(token_interval=0.01)
    emulator.fault("cut", model=FIRST, after_tokens=4)

    response: Any = index.as_query_engine(streaming=True).query("What do seams do?")

    assert "".join(response.response_gen) == TEXT
    assert [request.model for request in emulator.log] == [FIRST, SECOND]


CHATS = [mode for mode in ChatMode if mode not in (ChatMode.REACT, ChatMode.OPENAI)]


@pytest.mark.parametrize("mode", CHATS)
async def test_a_chat_engine(index: VectorStoreIndex, emulator: Emulator, served_by: str, mode: ChatMode) -> None:
    emulator.reply(text=TEXT)
    runtime: Any = index.as_chat_engine(chat_mode=mode)

    assert str(await to_thread(runtime.chat, "What do seams do?")) == TEXT
    assert str(await runtime.achat("And what else?")) == TEXT
    assert "".join((await to_thread(runtime.stream_chat, "Really?")).response_gen) == TEXT
    stream = await runtime.astream_chat("Really, really?")
    assert "".join([token async for token in stream.async_response_gen()]) == TEXT

    assert who(emulator) == served_by
    assert [message.role.value for message in runtime.chat_history] == ["user", "assistant"] * 4


class Choice(BaseModel):
    """Which."""

    name: str
    number: int


def tools(index: VectorStoreIndex) -> list[QueryEngineTool]:
    return [
        QueryEngineTool.from_defaults(index.as_query_engine(), name=name, description=f"Knows of {name}.")
        for name in ("seams", "hedges")
    ]


@pytest.mark.parametrize("selector", [PydanticSingleSelector, LLMSingleSelector])
async def test_a_router(index: VectorStoreIndex, emulator: Emulator, served_by: str, selector: Any) -> None:
    if selector is LLMSingleSelector:
        emulator.reply(text='[{"choice": 1, "reason": "it says seams"}]')
    runtime = RouterQueryEngine.from_defaults(tools(index), selector=selector.from_defaults())

    response = await to_thread(runtime.query, "What do seams do? Choose 1.")
    await runtime.aquery("What do seams do? Choose 1.")

    assert str(response)
    assert response.metadata is not None
    assert response.metadata["selector_result"].ind == 0
    assert who(emulator) == served_by


async def test_sub_questions(index: VectorStoreIndex, emulator: Emulator, served_by: str) -> None:
    emulator.reply(
        text='```json\n{"items": [{"sub_question": "What is a seam?", "tool_name": "seams"},'
        ' {"sub_question": "What is a hedge?", "tool_name": "hedges"}]}\n```'
    )
    runtime = SubQuestionQueryEngine.from_defaults(
        tools(index), question_gen=LLMQuestionGenerator.from_defaults(), use_async=True, verbose=False
    )

    response = await runtime.aquery("Compare seams and hedges")

    assert "items" in str(response)
    assert len(response.source_nodes) >= 2
    assert who(emulator) == served_by


PROGRAMS: dict[str, Callable[[OpenRouterFallback], Any]] = {
    "by a tool": lambda llm: FunctionCallingProgram.from_defaults(
        output_cls=Choice, prompt_template_str="{what} of 7", llm=llm
    ),
    "by words": lambda llm: LLMTextCompletionProgram.from_defaults(
        output_parser=PydanticOutputParser(Choice), prompt_template_str="{what} of 7", llm=llm
    ),
}


@pytest.mark.parametrize("program", PROGRAMS)
async def test_structured_extraction(llm: OpenRouterFallback, emulator: Emulator, served_by: str, program: str) -> None:
    if program == "by words":
        emulator.reply(text='{"name": "it", "number": 7}')
    made = PROGRAMS[program](llm)

    assert made(what="Choose 'it'") == Choice(name="it", number=7)
    assert await made.acall(what="Choose 'it'") == Choice(name="it", number=7)
    assert who(emulator) == served_by


@pytest.mark.parametrize("mode", [PydanticProgramMode.DEFAULT, PydanticProgramMode.LLM])
async def test_a_structured_query(make: Any, index: VectorStoreIndex, emulator: Emulator, mode: Any) -> None:
    llm = make(pydantic_program_mode=mode)
    emulator.fault("overloaded", model=FIRST)
    if mode is PydanticProgramMode.LLM:
        emulator.reply(text='{"name": "it", "number": 7}')
    runtime = index.as_query_engine(output_cls=Choice, llm=llm, response_mode="compact")

    response: Any = await to_thread(runtime.query, "Choose 'it' of 7")
    aresponse: Any = await runtime.aquery("Choose 'it' of 7")

    for one in (response, aresponse):
        assert isinstance(one.response, Choice)


async def test_extractors_in_a_pipeline(llm: OpenRouterFallback, emulator: Emulator, served_by: str) -> None:
    emulator.reply(text="seams, joins")
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(), KeywordExtractor(llm=llm, show_progress=False), TitleExtractor(llm=llm)]
    )

    nodes = await pipeline.arun(documents=DOCUMENTS, show_progress=False)

    assert {node.metadata["excerpt_keywords"] for node in nodes} == {"seams, joins"}
    assert who(emulator) == served_by


async def test_an_evaluator(llm: OpenRouterFallback, emulator: Emulator, served_by: str) -> None:
    emulator.reply(text="YES")
    result = await FaithfulnessEvaluator(llm=llm).aevaluate(response="Seams join.", contexts=["Seams join."])
    assert result.passing
    assert who(emulator) == served_by


ERRORS = [("authentication", AuthenticationError), ("not_found", AllModelsFailedError)]
QUERIES: dict[str, Callable[[VectorStoreIndex], Any]] = {
    "compact": lambda index: index.as_query_engine(),
    "tree": lambda index: index.as_query_engine(response_mode="tree_summarize"),
    "streaming": lambda index: index.as_query_engine(streaming=True),
    "router": lambda index: RouterQueryEngine.from_defaults(
        tools(index), selector=PydanticSingleSelector.from_defaults()
    ),
    "sub-questions": lambda index: SubQuestionQueryEngine.from_defaults(
        tools(index), question_gen=LLMQuestionGenerator.from_defaults(), use_async=False, verbose=False
    ),
    "structured": lambda index: index.as_query_engine(output_cls=Choice),
}


@pytest.mark.parametrize(("fault", "error"), ERRORS)
@pytest.mark.parametrize("query", QUERIES)
async def test_errors_come_up_unchanged(
    index: VectorStoreIndex, emulator: Emulator, query: str, fault: str, error: type[FallbackError]
) -> None:
    runtime = QUERIES[query](index)
    emulator.fault(fault)

    with pytest.raises(error) as raised:
        str(await to_thread(runtime.query, "What do seams do?"))
    assert type(raised.value) is error
    with pytest.raises(error) as raised:
        await _read(await runtime.aquery("What do seams do?"))
    assert raised.value.attempts


async def _read(response: Any) -> None:
    if isinstance(response, AsyncStreamingResponse):
        async for _ in response.response_gen:
            pass


# LlamaIndex raises it in the thread that writes its history, and again where the answer is read.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("mode", [ChatMode.SIMPLE, ChatMode.CONTEXT, ChatMode.CONDENSE_PLUS_CONTEXT])
async def test_errors_come_up_from_chat_engines(index: VectorStoreIndex, emulator: Emulator, mode: ChatMode) -> None:
    runtime: Any = index.as_chat_engine(chat_mode=mode)
    emulator.fault("not_found")

    with pytest.raises(AllModelsFailedError):
        await to_thread(runtime.chat, "What do seams do?")
    with pytest.raises(AllModelsFailedError):
        await runtime.achat("What do seams do?")
    with pytest.raises(AllModelsFailedError):
        "".join((await to_thread(runtime.stream_chat, "What do seams do?")).response_gen)


def test_a_summary_of_all(emulator: Emulator, served_by: str) -> None:
    emulator.reply(text=TEXT)
    index = SummaryIndex.from_documents(DOCUMENTS)
    assert str(index.as_query_engine(response_mode="tree_summarize").query("Sum up")) == TEXT
    assert who(emulator) == served_by
