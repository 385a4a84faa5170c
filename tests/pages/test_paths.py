"""Every path, module and command that a page names is there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

typer_main = pytest.importorskip("typer.main", reason="the command line needs typer")

from openrouter_fallback.cli.app import app  # noqa: E402

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FOLDERS = ("tests", "benchmarks", "scripts", "examples", "docs", "src", "notebooks", r"\.ci")
PATH = re.compile(rf"(?<![\w/.-])(?:{'|'.join(FOLDERS)})/[\w./*{{}},-]*[\w}}]")
MODULE = re.compile(r"python3? -m ([\w.]+)")
COMMAND = re.compile(r"(?:^|[`$|&(] ?)openrouter-fallback (?!\d)([a-z][a-z-]*)((?: +[^\n`|&;#)]*)?)", re.MULTILINE)
FLAG = re.compile(r"(?<!\S)--?[a-zA-Z][\w-]*")
MADE_LATER = {"docs/project", "examples/**"}


def _expanded(path: str) -> list[str]:
    """`a/{b,c}` as `a/b` and `a/c`."""
    found = re.search(r"\{([^{}]*)\}", path)
    if found is None:
        return [path]
    return [
        one for part in found[1].split(",") for one in _expanded(path[: found.start()] + part + path[found.end() :])
    ]


def _named() -> list[tuple[str, str]]:
    return [
        (page.relative_to(ROOT).as_posix(), one)
        for page in PAGES
        for named in dict.fromkeys(PATH.findall(page.read_text(encoding="utf-8")))
        for one in _expanded(named.rstrip("."))
    ]


def test_every_path_on_a_page_is_there() -> None:
    named = [(page, path) for page, path in _named() if path not in MADE_LATER]
    assert len(named) > 50
    missing = [
        f"{page}: {path}" for page, path in named if not (list(ROOT.glob(path)) or list(ROOT.glob(path + ".py")))
    ]
    assert not missing, "\n".join(missing)


def test_every_module_that_a_page_runs_is_there() -> None:
    named = {(page.name, module) for page in PAGES for module in MODULE.findall(page.read_text(encoding="utf-8"))}
    assert named
    missing = [
        f"{page}: python -m {module}" for page, module in sorted(named) if importlib.util.find_spec(module) is None
    ]
    assert not missing, "\n".join(missing)


def test_every_command_on_a_page_is_there_with_its_flags() -> None:
    group = typer_main.get_command(app)
    commands = getattr(group, "commands", {})
    seen, wrong = 0, []
    for page in PAGES:
        for match in COMMAND.finditer(page.read_text(encoding="utf-8")):
            name, rest = match[1], match[2] or ""
            command = commands.get(name)
            where = f"{page.relative_to(ROOT)}: openrouter-fallback {name}"
            seen += 1
            if command is None:
                wrong.append(where)
                continue
            flags = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)} | {"--help"}
            wrong += [f"{where} {flag}" for flag in FLAG.findall(rest) if flag not in flags]
    assert seen > 20
    assert not wrong, "\n".join(wrong)
