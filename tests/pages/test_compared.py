"""`docs/compared.md` has the figures, the date and the versions that `benchmarks/peers.md` has."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..support.pages import ROOT

COMPARED = (ROOT / "docs" / "compared.md").read_text(encoding="utf-8")
PEERS = (ROOT / "benchmarks" / "peers.md").read_text(encoding="utf-8")
CPU, COLD, FAILURES, MATRIX = (
    "## Client CPU per call",
    "## Cold start",
    "## The primary fails",
    "## The fault matrix",
)
ROWS = {
    "openai SDK, one model": ("openai SDK", "openai SDK"),
    "ChatOpenAI.with_fallbacks": ("ChatOpenAI.with_fallbacks", "ChatOpenAI.with_fallbacks, tuned"),
    "ChatOpenRouter, OpenRouter's models": ("ChatOpenRouter, models=", "ChatOpenRouter, models="),
    "LiteLLM Router": ("LiteLLM Router", "LiteLLM Router, tuned"),
    "pydantic-ai FallbackModel": ("pydantic-ai FallbackModel", "pydantic-ai FallbackModel, tuned"),
    "llama-index OpenRouter, one model": ("llama-index OpenRouter", "llama-index OpenRouter"),
    "this: client": ("ours: FallbackClient", "ours: FallbackClient"),
    "this: LangChain": ("ours: LangChain", "ours: LangChain"),
    "this: LlamaIndex": ("ours: LlamaIndex", "ours: LlamaIndex"),
}
"""A row of the page: the rows of `peers.md` with default settings, and with those recommended for failover."""


def rows(text: str) -> Iterator[list[str]]:
    """The rows of the first table of a text, without marks of code and bold type."""
    table = re.search(r"^\|.*?(?=\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    assert table
    for line in table[0].splitlines():
        if not re.fullmatch(r"[|\-: ]+", line):
            yield [re.sub(r"[`*]", "", cell).strip() for cell in line.strip("|").split("|")]


def cells(heading: str) -> dict[tuple[str, str], str]:
    """A table of `peers.md`, by row and column."""
    (_, *columns), *body = rows(PEERS.partition(heading)[2])
    return {(name, column): one for name, *values in body for column, one in zip(columns, values, strict=True)}


def test_the_table_has_the_figures_of_the_benchmark() -> None:
    cpu, cold, failures, matrix = map(cells, (CPU, COLD, FAILURES, MATRIX))

    def expected(default: str, tuned: str) -> list[str]:
        ratios = [cpu[default, name].split()[0] for name in ("async, 20 tokens", "sync, 20 tokens")]
        answered_stalled = failures[tuned, "stalling"].partition("%")[0]
        return [
            *ratios,
            cpu[default, "async stream, 500 chunks"].split()[0],
            f"{float(cold[default, 'cold start, CPU s']):.2f}",
            f"{float(failures[tuned, 'dead'].rpartition(';')[2]):.1f}",
            f"{answered_stalled} %",
            matrix["all", tuned].partition("/")[0],
        ]

    _, *body = rows(COMPARED)
    shown = {name: [value.partition(" of ")[0] for value in values] for name, *values in body}
    assert shown == {name: expected(*theirs) for name, theirs in ROWS.items()}


def test_the_date_and_the_versions_are_those_of_the_benchmark() -> None:
    said = re.search(r"Measured on (\S+) with (.*?)\. All", COMPARED, re.DOTALL)
    assert said
    assert f"`python benchmarks/peers --write` on {said[1]} with" in PEERS
    named = dict(re.findall(r"([a-z][a-z-]+)\s(\d[\d.]*\d)", said[2]))
    assert set(named) >= {
        "openai",
        "langchain-openai",
        "langchain-openrouter",
        "litellm",
        "llama-index-llms-openrouter",
    }
    assert [name for name, version in named.items() if f"{name} {version}" not in PEERS] == []
