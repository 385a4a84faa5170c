"""Tests judge behaviour: no test reads a private name of the packages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_PRIVATE = re.compile(r"(?:[A-Za-z]\w*\.)*(_[A-Za-z]\w*)")
_OWNERS = ("self", "cls")

# A name that a framework gave, or the only way to what a test is about
NAMES = {
    "_get_llm_string": "of LangChain: its key of a cached answer",
    "_identifying_params": "of LangChain: a part of that key",
    "_llm": "of LlamaIndex: its setting, which a test restores",
    "_repr_mimebundle_": "of IPython: what a notebook shows",
}
FILES = {
    "request/handover/test_properties.py": "a quick path is switched off and compared with the thorough one",
    "simulation/mutants.py": "a mutant breaks a rule inside the core, and a simulated world must notice it",
}


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def defined(tree: ast.AST) -> set[str]:
    """The private names that a module defines: functions, classes, variables, attributes."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.id if isinstance(node, ast.Name) else node.attr)
    return set(filter(_private, names))


def reaches(tree: ast.AST, own: set[str]) -> Iterator[tuple[int, str]]:
    """Line and name of each private name that is read of another object, imported, or named in a text, as for a patch.

    `own`: the private names of the tests, which they may read of themselves (`self._name`).
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            itself = isinstance(node.value, ast.Name) and node.value.id in _OWNERS and node.attr in own
            if _private(node.attr) and not itself:
                yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, alias.name) for alias in node.names if _private(alias.name))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = _PRIVATE.fullmatch(node.value)
            if named and _private(named[1]):
                yield node.lineno, named[1]


def _trees(folder: Path) -> dict[str, ast.Module]:
    return {path.relative_to(folder).as_posix(): ast.parse(path.read_text()) for path in sorted(folder.rglob("*.py"))}


@pytest.fixture(scope="module")
def found() -> list[tuple[str, int, str]]:
    """File, line and name of each private name of the packages that another test reads."""
    theirs = {name for tree in _trees(ROOT / "src").values() for name in defined(tree)}
    tests = _trees(ROOT / "tests")
    del tests[Path(__file__).relative_to(ROOT / "tests").as_posix()]
    own = {name for tree in tests.values() for name in defined(tree)}
    return [(file, *one) for file, tree in tests.items() for one in reaches(tree, own) if one[1] in theirs]


def test_no_test_reads_a_private_name(found: list[tuple[str, int, str]]) -> None:
    read = [f"tests/{file}:{line}: {name}" for file, line, name in found if not {name, file} & {*NAMES, *FILES}]
    assert read == []


def test_each_exception_is_needed(found: list[tuple[str, int, str]]) -> None:
    assert {file for file, _, _ in found} >= FILES.keys()
    assert {name for _, _, name in found} >= NAMES.keys()


def test_a_private_name_is_found() -> None:
    text = (
        "from a import _b\nc._d\nself._own\nself._theirs\nwith patch('e.f._g'): getattr(h, '_i')\n'a _b c', '__all__'"
    )
    assert [name for _, name in reaches(ast.parse(text), {"_own"})] == ["_b", "_d", "_theirs", "_g", "_i"]
