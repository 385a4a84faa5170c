"""LlamaIndex: questions about a folder of texts. The answer streams on although its first model fails in the middle.

python examples/llamaindex_rag.py [folder] [question]
"""

import sys
from pathlib import Path
from typing import Any

from llama_index.core import Settings, SimpleDirectoryReader, SimpleKeywordTableIndex
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index_instrumentation import get_dispatcher

from llamaindex_openrouter_fallback import LLMAttemptEndEvent, OpenRouterFallback

CHAIN = ["anthropic/claude-sonnet-4.5", "openai/gpt-5.1", "meta-llama/llama-3.3-70b-instruct"]
FOLDER = Path(__file__).parents[1] / "docs"
QUESTION = "Which model answers when the first one breaks off?"


class Attempts(BaseEventHandler):
    """Says of each attempt how it ended."""

    def handle(self, event: Any, **kwargs: Any) -> None:
        if isinstance(event, LLMAttemptEndEvent):
            print(f" [{event.model}: {event.kind or 'answered'}] ", end="")


def main(folder: str = str(FOLDER), question: str = QUESTION) -> None:
    get_dispatcher().add_event_handler(Attempts())
    Settings.llm = OpenRouterFallback(CHAIN)

    documents = SimpleDirectoryReader(folder, required_exts=[".md", ".txt"]).load_data()
    index = SimpleKeywordTableIndex.from_documents(documents)  # by keywords: needs no embedding model
    response: Any = index.as_query_engine(streaming=True).query(question)

    for token in response.response_gen:
        print(token, end="", flush=True)
    print(f"\n({len(response.source_nodes)} passages read)")


if __name__ == "__main__":
    main(*sys.argv[1:])
