"""The pages about LangChain keep their word: their Python runs, their tables agree with the code."""

from __future__ import annotations

import re
from pathlib import Path

import langchain_core.exceptions
import pytest

import openrouter_fallback
from langchain_openrouter_fallback import ChatOpenRouterFallback, errors
from openrouter_fallback.emulator import Emulator

ROOT = Path(__file__).parents[2]
PAGES = ("langchain", "migrating-from-langchain-fallbacks")
TEXT = {page: (ROOT / "docs" / f"{page}.md").read_text() for page in PAGES}
BLOCKS = [
    (page, number, block)
    for page in PAGES
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```$", TEXT[page], flags=re.MULTILINE | re.DOTALL))
]
YAML = (ROOT / "examples" / "fallback.yaml").read_text()


@pytest.mark.parametrize(("page", "number", "block"), BLOCKS, ids=[f"{page}-{number}" for page, number, _ in BLOCKS])
@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_python_runs(
    page: str, number: int, block: str, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fallback.yaml").write_text(YAML)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENROUTER_API_KEY", emulator.api_key)
    monkeypatch.setenv("OPENROUTER_BASE_URL", emulator.base_url)
    exec(compile(block, f"{page}.md, Python block {number + 1}", "exec"), {"__name__": "__main__"})


def test_the_table_of_errors_agrees_with_the_code() -> None:
    rows = re.findall(r"^\| ((?:`\w+Error`(?:, )?)+) \| `(\w+)`", TEXT["langchain"], flags=re.MULTILINE)
    told = {name: theirs for names, theirs in rows for name in re.findall(r"\w+Error", names)}
    for name, theirs in told.items():
        twin = errors.twin_of(getattr(openrouter_fallback, name)("x"))
        assert isinstance(twin, getattr(langchain_core.exceptions, theirs)), name
    assert set(told) == {cls.__name__ for cls in errors.FallbackError.__subclasses__()}


def test_the_arguments_that_are_told_exist() -> None:
    table = TEXT["langchain"].partition("## Arguments")[2].partition("## ")[0]
    told = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.partition(" | ")[0])}
    fields = ChatOpenRouterFallback.model_fields
    assert told - set(fields) - {field.alias for field in fields.values()} == set()


def test_links_and_files_are_there() -> None:
    for page in PAGES:
        named = re.findall(r"`((?:benchmarks|examples|docs)/[\w./]+|constraints\.txt)`", TEXT[page])
        assert [name for name in named if not (ROOT / name).exists()] == []
