"""The house: no circle of imports, and no module that is a mere list of names. `lint-imports` holds the floors."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import langchain_openrouter_fallback
import llamaindex_openrouter_fallback
import openrouter_fallback

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"
IDEAS = Path(__file__).parents[2] / "docs" / "fifteen-ideas.md"
PACKAGES = [openrouter_fallback, langchain_openrouter_fallback, llamaindex_openrouter_fallback]


def imports(root: Path) -> dict[str, set[str]]:
    """Each module of a package with the modules of it that it imports, at its top or in a function."""
    files = {_dotted(path, root): path for path in sorted(root.rglob("*.py"))}
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        graph[module] = set(_imported(ast.parse(path.read_text()), package, files)) - {module}
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module, by Tarjan's algorithm."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in sorted(graph[module]):
            if other not in order:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], order[other])
        if low[module] == order[module]:
            at = stack.index(module)
            circle = stack[at:]
            del stack[at:]
            if len(circle) > 1:
                found.append(sorted(circle))

    for module in graph:
        if module not in order:
            visit(module)
    return found


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_no_circle_of_imports(package: object) -> None:
    root = Path(str(getattr(package, "__file__", ""))).parent
    graph = imports(root)
    assert len(graph) > 3
    assert circles(graph) == []


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == [["a", "b", "c"]]


def test_only_an_init_is_a_list_of_names() -> None:
    root = Path(openrouter_fallback.__file__).parent
    mere = [
        path.relative_to(root).as_posix()
        for path in sorted(root.rglob("*.py"))
        if path.name != "__init__.py"
        and all(
            isinstance(node, ast.Import | ast.ImportFrom) or _is_docstring(node) or _is_all(node)
            for node in ast.parse(path.read_text()).body
        )
    ]
    assert mere == []


def test_the_layout_in_contributing_names_every_room() -> None:
    root = Path(openrouter_fallback.__file__).parent
    found = [path for path in root.iterdir() if not path.name.startswith("_") and path.name != "py.typed"]
    rooms = {f"{path.name}/" if path.is_dir() else path.name for path in found}
    layout = CONTRIBUTING.read_text().partition("src/openrouter_fallback/ ")[2].partition("src/langchain")[0]
    named = {word for line in layout.splitlines() for word in line[:40].split()}
    assert rooms <= named


def test_each_room_of_the_fifteen_ideas_exists() -> None:
    root = Path(openrouter_fallback.__file__).parent
    ideas = re.findall(r"^\| \d+ \| .+ \| (.+) \|$", IDEAS.read_text(), re.MULTILINE)
    assert len(ideas) == 15
    assert [room for cell in ideas for room in re.findall(r"`(.+?)`", cell) if not (root / room).exists()] == []


def _dotted(path: Path, root: Path) -> str:
    parts = (root.name, *path.relative_to(root).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(tree: ast.Module, package: str, files: dict[str, Path]) -> Iterator[str]:
    for node in _without_type_checking(tree):
        if isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                if inner in files or module in files:
                    yield inner if inner in files else module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files)


def _without_type_checking(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from _without_type_checking(child)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_all(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
