"""docs/llamaindex.md keeps its word: its code runs in one go, its table names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback.emulator import Emulator

PAGE = Path(__file__).parents[2] / "docs" / "llamaindex.md"
TEXT = PAGE.read_text()
PYTHON = re.findall(r"^```python\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)


def test_the_code_runs(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", emulator.api_key)
    monkeypatch.setenv("OPENROUTER_BASE_URL", emulator.base_url)
    names: dict[str, object] = {}
    printed = []
    for number, block in enumerate(PYTHON, start=1):
        exec(compile(block, f"{PAGE.name}, Python block {number}", "exec"), names)
        printed.append(capsys.readouterr().out)

    assert all(printed)
    assert printed[1] == "anthropic/claude-sonnet-4.5\n"
    assert printed[3] == "openai/gpt-5-mini\nopenai/gpt-5-mini\n"
    assert "answered" in printed[-2]
    assert printed[-1] == "anthropic/claude-sonnet-4.5 answered" or printed[-1].endswith("True\n")


def test_the_table_names_what_there_is() -> None:
    rows = re.findall(r"^\| (`[a-z_]+`[^|]*) \|", TEXT, flags=re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}
    assert told <= set(OpenRouterFallback.model_fields)
    own = set(OpenRouterFallback.model_fields) - set(OpenRouterFallback.__mro__[1].model_fields)  # type: ignore[attr-defined]
    assert own <= told


def test_what_it_points_to_is_there() -> None:
    links = re.findall(r"\]\((?!https?://)([^)]+)\)", TEXT)
    assert links
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
