"""Questions over a few documents: a retriever, a prompt and a chain of models, streamed with LCEL.

Needs the extra `langchain` alone: the retriever is a dozen lines of word counting.
"""

from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from langchain_openrouter_fallback import ChatOpenRouterFallback

CHAIN = ["anthropic/claude-sonnet-4.5", "openai/gpt-5.1", "meta-llama/llama-3.3-70b-instruct"]
DOCUMENTS = [
    Document("A circuit breaker leaves a failing model out for a while, then tries it with one real request."),
    Document("A hedge asks a second model when the first is slow; the first token wins."),
    Document("A retry budget caps the extra requests, so that an outage is not multiplied."),
]
PROMPT = ChatPromptTemplate.from_messages(
    [("system", "Answer from these documents only:\n{documents}"), ("human", "{question}")]
)


def retrieve(question: str) -> str:
    """The two documents that share most words with the question."""
    words = {word.strip("?.,").lower() for word in question.split()}
    ranked = sorted(DOCUMENTS, key=lambda document: -len(words & set(document.page_content.lower().split())))
    return "\n".join(document.page_content for document in ranked[:2])


llm = ChatOpenRouterFallback(models=CHAIN, app_title="langchain_rag.py")
chain = {"documents": RunnableLambda(retrieve), "question": RunnablePassthrough()} | PROMPT | llm

for piece in (chain | StrOutputParser()).stream("What does a circuit breaker do?"):
    print(piece, end="", flush=True)
print()

answer = chain.invoke("What is a hedge?", config={"configurable": {"primary_provider": "openai"}})
told = answer.response_metadata
print(f"{answer.text}\n{told['model_name']}, after {len(told['attempts'])} attempt(s)")
