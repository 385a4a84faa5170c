"""Every path, module and command that a page names is there."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

typer_main = pytest.importorskip("typer.main", reason="the command line needs typer")

from openrouter_fallback.cli.app import app  # noqa: E402

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
FOLDERS = ("tests", "benchmarks", "scripts", "examples", "docs", "src", "notebooks", r"\.ci")
PATH = re.compile(rf"(?<![\w/.-])(?:{'|'.join(FOLDERS)})/[\w./*{{}},-]*[\w}}]")
MODULE = re.compile(r"python3? -m ([\w.]+)")
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|[`$|&(] ?)openrouter-fallback (?!\d)([a-z][a-z-]*)((?: +[^\n`|&;#)]*)?)", re.MULTILINE)
FLAG = re.compile(r"(?<!\S)--?[a-zA-Z][\w-]*")
MADE_LATER = {"benchmarks/.peers", "docs/project", "examples/**"}


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
        code = "\n".join(CODE.findall(page.read_text(encoding="utf-8")))
        for match in COMMAND.finditer(code):
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


SCRIPT = re.compile(r"(?:python3?|bash) ((?:benchmarks|scripts|tests|examples|\.ci)/[\w./-]*\w)((?: +[^\n`|&;#)]*)?)")


def test_every_script_on_a_page_has_its_flags() -> None:
    seen, wrong = 0, []
    for page in PAGES:
        code = "\n".join(CODE.findall(page.read_text(encoding="utf-8")))
        for script, rest in SCRIPT.findall(code):
            path = ROOT / script
            files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
            source = "\n".join(file.read_text(encoding="utf-8") for file in files)
            flags = [flag for flag in FLAG.findall(rest) if flag.startswith("--")]
            seen += len(flags)
            wrong += [f"{page.name}: {script} {flag}" for flag in flags if f'"{flag}"' not in source]
    assert seen > 4
    assert wrong == []


EXTRAS = {
    "langchain_core": "langchain",
    "langchain_openrouter_fallback": "langchain",
    "llama_index.core": "llamaindex",
    "llamaindex_openrouter_fallback": "llamaindex",
    "openrouter_fallback.drill": "emulator",
    "openrouter_fallback.emulator": "emulator",
    "openrouter_fallback.serve": "serve",
    "opentelemetry": "otel",
    "redis": "redis",
    "starlette": "emulator",
}
BROUGHT = {"httpx2", "orjson", "pydantic", "yaml"}
"""What the core installs."""
PYTHON = re.compile(r"^```python[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
IMPORT = re.compile(r"^\s*(?:from|import) ([\w.]+)", re.MULTILINE)
EXTRA = re.compile(r"openrouter-fallback\[([\w,]+)\]")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_says_what_to_install_for_its_python(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    imported = {module for block in PYTHON.findall(text) for module in IMPORT.findall(block)}
    imported -= set(re.findall(r'title="(\w+)\.py"', text))
    extras = {extra for found in EXTRA.findall(text) for extra in found.split(",")}
    commands = " ".join(re.findall(r"pip install ([^\n`]*)", text))
    missing = []
    for module in sorted(imported):
        extra = next((extra for name, extra in EXTRAS.items() if f"{module}.".startswith(f"{name}.")), None)
        top = module.partition(".")[0]
        if extra is not None:
            missing += [] if extra in extras else [f"{module} comes with [{extra}]"]
        elif top not in {*sys.stdlib_module_names, *BROUGHT, "openrouter_fallback"}:
            missing += [] if top.replace("_", "-") in commands else [f"{module} is not in a `pip install`"]
    assert missing == []
