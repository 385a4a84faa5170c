"""The notebooks run from top to bottom: without a key against the emulator, and unchanged with one.

Each in a kernel of this interpreter, which reaches nothing but loopback. They are committed with the outputs of a run
without a key, which `python -m scripts.docs.notebooks` writes.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest

from openrouter_fallback.emulator import MODELS, Emulator

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
RUNNER = Path(__file__).parents[1] / "support" / "notebook.py"
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
CHEAP = "google/gemini-2.5-flash-lite"
RENEW = "docs/notebooks.md, 'Changing them', says how the outputs are renewed and the metadata stripped"
# What the kernel runs first: whoever leaves the machine is told so, whatever library it is.
ONLY_LOOPBACK = """
import sys

def only_loopback(event, args):
    host = args[1] if event == "socket.connect" else args[0] if event == "socket.getaddrinfo" else None
    host = host[0] if isinstance(host, tuple) else None if event == "socket.connect" else host
    if host is not None and host not in ("127.0.0.1", "::1", "localhost"):
        raise RuntimeError(f"a notebook wanted to reach {host}")

sys.addaudithook(only_loopback)
"""


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Sockets of the kernel live here, and their paths must be short."""
    with tempfile.TemporaryDirectory(prefix="nb") as made:
        yield Path(made)


@dataclass
class Ran:
    """A notebook that has run: the outputs of each code cell, by the cell's id."""

    outputs: dict[str, list[Any]]

    def said(self, cell: str) -> str:
        """What the cell printed."""
        return "".join(one.text for one in self.outputs[cell] if one.output_type == "stream")

    def shown(self, cell: str) -> Mapping[str, str]:
        """What the cell's last expression shows, by MIME type."""
        (result,) = [one for one in self.outputs[cell] if one.output_type == "execute_result"]
        data: Mapping[str, str] = result.data
        return data


def run(name: str, folder: Path, *cells: str, **environment: str) -> Ran:
    """The whole notebook, or only some cells of it."""
    startup = folder / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-loopback.py").write_text(ONLY_LOOPBACK)
    foreign = ("OPENROUTER_", "JUPYTER", "IPYTHON", "LANGSMITH_", "LANGCHAIN_", "OPENAI_", "PYTEST_", "COV_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    places = ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "XDG_CACHE_HOME", "HOME")
    own = {place: str(folder / "home") for place in places} | {"IPYTHONDIR": str(folder / "ipython")}
    command = [sys.executable, str(RUNNER), str(NOTEBOOKS / f"{name}.ipynb"), str(folder), *cells]
    done = subprocess.run(command, env={**kept, **own, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return read(folder / "ran.ipynb")


def read(path: Path) -> Ran:
    notebook = nbformat.read(path, as_version=4)
    return Ran({cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"})


@dataclass(frozen=True)
class Case:
    """What cells print, show, and show as pictures (patterns of the alternative text), by the cells' ids.

    With a key: the cells that have anything to do with it (none named: all), and how many of their answers were begun
    by another model.
    """

    name: str
    prints: Mapping[str, tuple[str, ...]]
    pictures: Mapping[str, tuple[str, ...]]
    shows: Mapping[str, str] = field(default_factory=dict)
    with_key: tuple[str, ...] = ()
    prints_with_key: Mapping[str, str] = field(default_factory=dict)
    continued: int = 0


AGENT = (
    r"Call 1: stage:demo/alpha answered after [\d.]+ s\. "
    r"Call 2: stage:demo/alpha failed after [\d.]+ s \(overloaded 503\); "
    r"stage:demo/beta failed after [\d.]+ s \(bad_answer\); "
    rf"{CHEAP} went on at character \d+ and answered after [\d.]+ s\.",
)
COUNTED = "one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, fourteen, fifteen."
SEAM = (
    f"{COUNTED}\n",
    "stage:demo/alpha wrote 'one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve,',\n"
    f"{CHEAP} wrote ' thirteen, fourteen, fifteen.'\n",
)
ERRORS = {
    "exhausted": ("All models exhausted: 4 attempts on 2 models", "Again in 600 seconds."),
    "key": ("auth (401)", "An OpenRouter key starts with sk-or-", "openai/gpt-4.1-mini: skipped (not called)"),
}
CASES = [
    Case(
        "langchain",
        {
            "where": ("No OPENROUTER_API_KEY: a rehearsal",),
            "model": ("The key is good. Left on it, in USD: no limit", f"stage:demo/beta\n  {CHEAP}\n"),
            "first": ("Because a client that sends everything twice", f"served by {CHEAP}"),
            "stream": SEAM,
            "agent": (
                "With 12 degrees and light rain, take a warm sweater, a raincoat and shoes that like puddles.\n",
                "The tool ran for ['Paris']",
            ),
            "messages": ("ai: ['get_weather']\n", "tool: Paris: 12 degrees, light rain.\n", "bad_answer"),
            "structured": ("overloaded", "bad_answer", "answered"),
            "cost": ("USD of at most 0.02 USD",),
            **ERRORS,
        },
        {"picture": AGENT},
        {"structured": "Forecast(city='Paris', degrees=12, rain=True)"},
        prints_with_key={"where": "OpenRouter itself", "agent": "The tool ran for ['Paris']\n"},
        continued=2,
    ),
    Case(
        "llamaindex",
        {
            "where": ("No OPENROUTER_API_KEY: a rehearsal",),
            "llm": ("The key is good. Left on it, in USD: no limit", f"stage:demo/beta\n  {CHEAP}\n"),
            "first": ("Because a client that sends everything twice", f"{CHEAP} served, for 0.0000"),
            "stream": SEAM,
            "rag": (
                "Within 30 days, if you have ridden it for less than 50 kilometres by then.\n",
                "from: A bicycle may be returned within 30 days",
            ),
            "agent": (
                "Leave it with us in the morning: wheels take until the next day, brakes and lights only minutes.\n",
                "The tool was called with ['How long do repairs of wheels take?']",
            ),
            "structured": ("stage:demo/beta failed", f"{CHEAP} answered"),
            "cost": ("USD of at most 0.02 USD",),
            **ERRORS,
        },
        {"picture": AGENT},
        {"structured": "Order(item='inner tube', number=12)"},
        prints_with_key={"where": "OpenRouter itself", "agent": "The tool was called with ['How long do repairs of"},
        continued=3,
    ),
    Case(
        "from-recipes",
        {
            "loop": ("the recipe    answered\n" * 4 + "this library  answered\n" * 4,),
            "manager": (
                "the recipe    RuntimeError: all models failed\n"
                "this library  InvalidRequestError: invalid_request (400): Invalid input: temperature",
                "skipped by this library: none",
            ),
            "tracker": ("the recipe    RuntimeError: no healthy model\n" * 4 + "this library  answered\n" * 4,),
            "kinds": ("the recipe    TypeError: 'NoneType' object is not subscriptable\n" * 3,),
            "tasks": ("the recipe    answered\n" * 4 + "this library  answered\n" * 4,),
            "tiers": ("the recipe    answered\n" * 2 + "this library  answered\n" * 2,),
            "stream": (
                "the recipe    not the answer: 'A budget keeps an outageA budget keeps",
                "this library  answered\n" * 2,
            ),
            "yaml": ("the recipe: 2 attempts per model\nthis library: .../fallback.yaml, line 4", "Did you mean"),
            "real": ("A budget keeps", "openai/gpt-0-nonexistent         not_found", f"{CHEAP}     answered"),
        },
        {
            "loop": (
                r"The loop: the recipe: \S+ failed 12 times \(provider_overloaded\); \S+ answered 4 times\. "
                r"The loop: this library: \S+ failed 3 times \(provider_overloaded\); \S+ answered 4 times\.",
            ),
            "manager": ("recipe: (.+ failed 2 times){3}.* library: .+ failed 1 time",),
            "tasks": (r"recipe: .+ failed 4 times.+ library: .+ failed 1 time \(model_not_found\)",),
            "tiers": (r"recipe: \S+ abandoned 6 times.+ library: \S+ abandoned 2 times",),
        },
        with_key=("install", "stage", "real", "end"),
        prints_with_key={"real": f"{CHEAP}     answered"},
    ),
]


def look_at_pictures(case: Case, ran: Ran) -> None:
    for cell, patterns in case.pictures.items():
        if cell in ran.outputs:
            html = ran.shown(cell)["text/html"]
            assert 'src="data:image/svg+xml;base64,' in html
            (told,) = re.findall('<img alt="([^"]+)"', html)
            assert [pattern for pattern in patterns if not re.search(pattern, told)] == [], told


def look_at_outputs(case: Case, ran: Ran) -> None:
    for cell, expected in case.prints.items():
        for text in expected:
            assert text in ran.said(cell), cell
    look_at_pictures(case, ran)
    for cell, text in case.shows.items():
        assert ran.shown(cell)["text/plain"] == text
    stderr = [one.text for cell in ran.outputs.values() for one in cell if one.get("name") == "stderr"]
    assert stderr == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_without_a_key_it_runs_against_the_emulator(case: Case, short_path: Path) -> None:
    ran = run(case.name, short_path)
    look_at_outputs(case, ran)

    committed = read(NOTEBOOKS / f"{case.name}.ipynb")
    assert {cell: but_for_numbers(committed, cell) for cell in committed.outputs} == {
        cell: but_for_numbers(ran, cell) for cell in ran.outputs
    }, RENEW


def but_for_numbers(ran: Ran, cell: str) -> tuple[list[str], list[set[str]]]:
    """The lines that a cell prints, each number as any number, and the MIME types of what it shows.

    Sorted: in which order two models are called again, dice decide.
    """
    lines = [re.sub(r"\d[\d.,:]*", "0", " ".join(line.split())) for line in ran.said(cell).splitlines()]
    return sorted(lines), [set(one.data) for one in ran.outputs[cell] if one.output_type != "stream"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_committed_shows_what_the_notebook_is_about(case: Case) -> None:
    look_at_outputs(case, read(NOTEBOOKS / f"{case.name}.ipynb"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_with_a_key_it_runs_unchanged_and_asks_openrouter(case: Case, short_path: Path) -> None:
    with Emulator(models=MODELS) as openrouter:
        key, url = openrouter.api_key, openrouter.base_url
        ran = run(case.name, short_path, *case.with_key, OPENROUTER_API_KEY=key, OPENROUTER_BASE_URL=url)
        answered = [request for request in openrouter.log if request.status == 200]
    assert {request.model for request in answered} == {CHEAP}
    assert 0 < openrouter.spent < 0.001
    # Of what was streamed and cut off only the rest was asked for.
    look_at_pictures(case, ran)
    for cell, text in case.prints_with_key.items():
        assert text in ran.said(cell)
    assert sum(one.body["messages"][-1]["role"] == "assistant" for one in answered) == case.continued


# As they lie in the repository


def test_there_is_a_case_for_each() -> None:
    assert [path.stem for path in PATHS] == sorted(case.name for case in CASES)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_it_is_committed_valid_and_without_traces_of_who_ran_it(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert {*notebook.metadata} == {"kernelspec", "language_info"}, RENEW
    assert notebook.metadata.language_info == {"name": "python"}, RENEW
    for cell in notebook.cells:
        assert cell.metadata == {}, RENEW
        assert cell.get("execution_count") is None, RENEW
        assert re.fullmatch("[a-z-]+", cell.id), "a cell's id is its name: tests look for it"
    text = path.read_text()
    assert re.findall(r"sk-or-v1-(?!not-a-key)\w|/(?:home|Users|tmp|root)/|[A-Z]:\\\\", text) == []
    assert text.endswith("}\n")


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_only_its_first_cell_installs_and_only_what_is_missing(path: Path) -> None:
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    magic = [
        (number, line) for number, cell in enumerate(code) for line in re.findall(r"^\s*[%!].*", cell.source, re.M)
    ]
    ((number, line),) = magic
    assert number == 0
    assert line.startswith("    %pip install --quiet ")
    condition = ast.parse(code[0].source.replace(line.strip(), "pass")).body[-1]
    assert isinstance(condition, ast.If)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_what_it_points_to_is_there(path: Path) -> None:
    text = "".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    named = re.findall(r"`((?:docs|notebooks|examples)/[^`]*)`", text)
    assert named
    assert [one for one in named if not (NOTEBOOKS.parent / one).exists()] == []
