"""Executes the code blocks of a page in order, in one folder, as a reader of the page would.

- Python blocks are executed; the blocks of a page share their names. A block with a title (```python title="app.py")
  is a file, which exists from the start. At the end, pytest runs the files `test_*.py` that no command of the page has
  run. A block with the title "cell" is a cell of a notebook, which may await at its top level.
- YAML blocks are loaded. A whole configuration becomes `fallback.yaml`; the content of `fallback` or of `settings` is
  put into a configuration; scenarios of drills and scripts of the emulator are recognized by their keys. The commands
  of a workflow (`jobs`) are executed.
- Commands are executed. `emulate`, `serve` and the worker of
  `celery` run until the end of the page, so that later blocks can call them. In
  `console` blocks the commands begin with `$`, and their output must match the shown output: a number matches any
  number, `...` matches any text.
- A `diff` block contains Python: both sides are compiled, and the imports of the new side are executed.
- A `text` block after Python or commands is their output, compared in the same way. Blocks with an output and without
  such a `text` block are listed in `shown_nowhere`, by line. JSON and TOML are parsed.
- A block that cannot run has a comment on the line before it, `<!-- not run: why -->`. Then Python is compiled, and
  YAML and commands are parsed.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from types import CodeType
from typing import Any
from urllib.request import Request, urlopen

import pytest
import typer
import yaml
from markdown_it import MarkdownIt

from openrouter_fallback import FallbackConfig, Settings, load_config
from openrouter_fallback.cli.app import app
from openrouter_fallback.drill import read_scenario
from openrouter_fallback.emulator import MODELS, Emulator

from .celery_worker import celery_worker
from .commands import command, run

ROOT = Path(__file__).parents[2]
CONFIG = "fallback.yaml"
CELL = "cell"
_NOT_RUN = re.compile(r"<!-- not run: (\S.*) -->")
_QUICK = ["--scenario", "overloaded"]


def pages() -> list[str]:
    """README.md, CONTRIBUTING.md and all pages of docs/, except the pages that are generated from docstrings."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    names = [page.relative_to(ROOT).as_posix() for page in found if page.exists()]
    return [name for name in names if not name.startswith("docs/reference/")]


@dataclass(frozen=True)
class Block:
    """One block of code. `not_run` is the reason in the comment before the block."""

    line: int
    language: str
    title: str | None
    text: str
    not_run: str | None

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


def blocks(page: str) -> list[Block]:
    """The blocks of a page in order. Raises AssertionError for a block without a language or an indented block."""
    found, not_run = [], None
    for token in MarkdownIt().parse((ROOT / page).read_text(encoding="utf-8")):
        line = (token.map or [0])[0] + 1
        if token.type == "html_block" and "not run" in token.content:
            said = _NOT_RUN.fullmatch(token.content.strip())
            assert said, f"{page}:{line}: it is written <!-- not run: why -->"
            not_run = said[1]
            continue
        if token.type == "code_block":
            raise AssertionError(f"{page}:{line}: an indented block of code; fence it, and say its language")
        if token.type == "fence":
            end = (token.map or [0, 0])[1]
            assert end - line - 1 == token.content.count("\n"), f"{page}:{line}: a block that is never closed"
            language, _, rest = token.info.partition(" ")
            title = re.search(r'title="([^"]+)"', rest)
            found.append(Block(line, language, title and title[1], token.content, not_run))
        else:
            assert not_run is None, f"{page}:{line}: the comment 'not run' stands right before its block"
        not_run = None
    return found


class Broken(AssertionError):
    """A block of a page that fails."""


@dataclass
class Reader:
    """Executes a page like a reader, in an empty folder, with an emulator in place of OpenRouter."""

    page: str
    folder: Path
    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]
    names: dict[str, object] = field(default_factory=lambda: {"__name__": "__main__"})
    printed: str | None = None
    shown_nowhere: list[int] = field(default_factory=list)
    servers: list[subprocess.Popen[str]] = field(default_factory=list)
    workers: ExitStack = field(default_factory=ExitStack)
    tested: bool = False

    def read(self) -> None:
        """Execute every block. Raises `Broken`, which names the line."""
        found = blocks(self.page)
        self._lay_out(found)
        with Emulator(MODELS) as emulator, self.workers:
            self.patch.setenv("OPENROUTER_API_KEY", emulator.api_key)
            self.patch.setenv("OPENROUTER_BASE_URL", emulator.base_url)
            self.workers.callback(self._stop_servers)  # after the workers, which call them
            for block in found:
                with self._told(block):
                    self._try(block)
            self._tests(found)

    def _lay_out(self, found: list[Block]) -> None:
        self.patch.chdir(self.folder)
        self.patch.setattr("tempfile.tempdir", str(self.folder))
        if not any("openrouter-fallback init" in block.text for block in found):
            self._write(CONFIG, (ROOT / "examples" / CONFIG).read_text())
        for block in found:
            if block.title not in (None, CELL) and not block.not_run:
                self._write(block.title, block.text)

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    @contextmanager
    def _told(self, block: Block) -> Iterator[None]:
        try:
            yield
        except pytest.skip.Exception:
            raise
        except BaseException as error:  # SystemExit as well
            raise Broken(f"{self.page}:{block.line}: {type(error).__name__}: {error}") from error

    def _try(self, block: Block) -> None:
        table = PARSERS if block.not_run else RUNNERS
        if block.language not in table:
            raise Broken(f"nothing executes a block of {block.language or 'no language'}; see tests/support/pages.py")
        before, self.printed = self.printed, None
        if block.language == "text" and not block.not_run:
            assert before is not None, "text is what the block before it prints, and that prints nothing"
            same(block.text, before)
            return
        table[block.language](self, block)
        if (self.printed or "").strip() and not block.not_run and self._next(block) != "text":
            self.shown_nowhere.append(block.line)

    def _next(self, block: Block) -> str | None:
        """The language of the next block, or None."""
        return next((one.language for one in blocks(self.page) if one.line > block.line), None)

    def python(self, block: Block) -> None:
        code = self.compiled(block)
        if block.title in (None, CELL):
            self.capture.readouterr()
            result = eval(code, self.names)
            if inspect.iscoroutine(result):
                asyncio.run(result)
            self.printed = self.capture.readouterr().out

    def compiled(self, block: Block) -> CodeType:
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT if block.title == CELL else 0
        code: CodeType = compile(block.text, f"{self.page}, line {block.line}", "exec", flags)
        return code

    def diff(self, block: Block) -> None:
        """Check that both sides are Python, and that the imports of the new side work."""
        for side in "-+":
            text = "\n".join(line[1:] for line in block.lines if line[:1] in (side, " ", ""))
            tree = ast.parse(text, f"{self.page}, line {block.line}")
        imports: list[ast.stmt] = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert imports, "a diff shows the imports of both sides"
        exec(compile(ast.Module(imports, []), self.page, "exec"), {})

    def yaml(self, block: Block) -> None:
        data = yaml.safe_load(block.text)
        assert isinstance(data, Mapping), "YAML here is a mapping"
        keys = data.keys()
        if keys == {"fallback"}:
            load_config(self._write(block.title or CONFIG, block.text))
        elif keys <= FallbackConfig.model_fields.keys():
            models = {"default_chain": ["openai/gpt-5.1"]}
            load_config({**models, **data})
        elif keys <= Settings.model_fields.keys():
            load_config({"default_chain": ["openai/gpt-5.1"], "settings": data})
        elif "jobs" in keys:
            steps = [step for job in data["jobs"].values() for step in job["steps"]]
            for line in commands([line for step in steps for line in step.get("run", "").splitlines()]):
                self.execute(line)
        elif keys & {"workload", "expect"}:
            read_scenario(self._write(block.title or "scenario.yaml", block.text))
        else:
            Emulator(script=self._write(block.title or "script.yaml", block.text))

    def yaml_parsed(self, block: Block) -> None:
        assert yaml.safe_load(block.text)

    def json(self, block: Block) -> None:
        json.loads(block.text)

    def toml(self, block: Block) -> None:
        tomllib.loads(block.text)

    def bash(self, block: Block) -> None:
        said = [self.execute(line) for line in commands(block.lines)]
        self.printed = "".join(said)

    def bash_parsed(self, block: Block) -> None:
        for line in commands(block.lines):
            parsed(shlex.split(line, comments=True))

    def console(self, block: Block) -> None:
        for part in re.split(r"^\$ ", dedent(block.text), flags=re.MULTILINE)[1:]:
            line, _, shown = part.partition("\n")
            printed = self.execute(line)
            same(shown, printed)

    def console_parsed(self, block: Block) -> None:
        lines = [line.removeprefix("$ ") for line in block.lines if line.startswith("$ ")]
        assert lines, "the commands of a console begin with $"
        for line in lines:
            parsed(shlex.split(line, comments=True))

    def execute(self, line: str) -> str:
        """The output of a command. Raises an error if the command fails or is unknown."""
        first, and_, rest = line.partition(" && ")
        words = shlex.split(re.sub(r" >+ \S+", "", first), comments=True)
        program, args = Path(words[0]).name or words[0], words[1:]
        if program in PROGRAMS:
            printed = PROGRAMS[program](self, args)
        elif (ROOT / words[0]).is_file():  # a script of the repository
            printed = ""
        else:
            raise Broken(f"nothing checks the command {line!r}; see tests/support/pages.py")
        return printed + self.execute(rest) if and_ else printed

    def ours(self, args: list[str]) -> str:
        if args[0] == "emulate":
            return self.emulate(args)
        if args[0] == "serve":
            return self.serve(args)
        drill = args[0] == "drill" and "--list" not in args
        quick = _QUICK if drill and "--scenario" not in args else []
        # Slow answers depend on the machine, so only unanswered calls fail the drill here.
        lenient = ["--fail-on", "failed"] if drill and "--fail-on" not in args else []
        done = run(*self.in_repository(args), *quick, *lenient)
        assert done.exit_code == 0, done.output
        for report in re.findall(r"--report (\S+)", " ".join(args)):
            assert (self.folder / report).read_text().startswith("<!DOCTYPE html>")
        return str(done.output)

    def in_repository(self, args: list[str]) -> list[str]:
        """The arguments, with absolute paths for files of the repository's `examples/`."""
        return [str(ROOT / arg) if arg.startswith("examples/") else arg for arg in args]

    def emulate(self, args: list[str]) -> str:
        given = [] if "--port" in args else ["--port", "0"]
        server = subprocess.Popen(command(*args, *given), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.servers.append(server)
        assert server.stdout is not None
        told = [server.stdout.readline(), server.stdout.readline()]
        for line in told:
            name, _, value = line.removeprefix("export ").strip().partition("=")
            assert name in ("OPENROUTER_BASE_URL", "OPENROUTER_API_KEY"), line
            self.patch.setenv(name, value)
        return "".join(told)

    def serve(self, args: list[str]) -> str:
        started = command(*args, "--port", "0", "--no-access-log")
        server = subprocess.Popen(started, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.servers.append(server)
        assert server.stderr is not None
        told = server.stderr.readline()
        if told.startswith("Configuration: "):
            told = server.stderr.readline()
        url = re.search(r"http://\S+/v1", told)
        assert url is not None, told
        self.patch.setenv("OPENAI_BASE_URL", url[0])
        return told

    def celery(self, args: list[str]) -> str:
        for name, value in self.workers.enter_context(celery_worker(args, self.folder)).items():
            self.patch.setenv(name, value)
        return ""

    def _stop_servers(self) -> None:
        for server in self.servers:
            server.send_signal(signal.SIGINT)
            server.communicate(timeout=30)
            assert server.returncode == 0

    def export(self, args: list[str]) -> str:
        name, _, value = args[0].partition("=")
        if name == "OPENROUTER_API_KEY":
            assert value.startswith("sk-or-"), "an OpenRouter key starts with sk-or-"
        elif name not in ("OPENROUTER_BASE_URL", "OPENAI_BASE_URL"):  # the page's own servers replace these
            self.patch.setenv(name, value)
        return ""

    def interpreter(self, args: list[str]) -> str:
        match args:
            case ["-m", "venv", _]:
                return ""
            case ["-m", "pytest", *tests] if "/" in " ".join(tests) or not list(self.folder.glob("test_*.py")):
                return self.tool(tests)
            case ["-m", "pytest", *flags]:
                self.tested = True
                return self.process(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *flags)
            case ["-m", "pip", *words]:
                return self.pip(words)
            case ["-m", "build", *_]:
                return ""
            case ["-m", module, *_] if module.startswith("scripts."):
                return self.tool([module.replace(".", "/"), *args[2:]])
            case [script, *_] if script.startswith(("benchmarks/", "scripts/", "tests/")):
                return self.tool(args)
        return self.process(sys.executable, *self.in_repository(args))

    def process(self, *words: str) -> str:
        """The output of a process. Its standard input is empty, which ends the emulator's own command."""
        done = subprocess.run(words, cwd=self.folder, input="", capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def curl(self, args: list[str]) -> str:
        """What the page's own server answers to a POST; other servers are not called."""
        url, *options = args
        served = "http://127.0.0.1:8788/v1"
        if not url.startswith(served):
            return ""
        given = dict(zip(options[::2], options[1::2], strict=True))
        name, _, value = given["-H"].partition(": ")
        request = Request(url.replace(served, os.environ["OPENAI_BASE_URL"]), given["-d"].encode(), {name: value})
        with urlopen(request, timeout=30) as answer:
            return str(answer.read(), "utf-8")

    def make(self, args: list[str]) -> str:
        # The Makefile is read here, because CI has no `make`.
        makefile = (ROOT / "Makefile").read_text()
        targets = [arg for arg in args if "=" not in arg]
        assert all(re.search(rf"^{target}:.* ## ", makefile, flags=re.MULTILINE) for target in targets)
        return ""

    def pip(self, args: list[str]) -> str:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        names = [arg for before, arg in pairwise(args) if not arg.startswith("-") and before != "--group"]
        for wanted in names if args[0] == "install" else ():
            name, _, listed = wanted.removesuffix("]").partition("[")
            if name in ("openrouter-fallback", ".", "./openrouter-fallback"):
                assert set(filter(None, listed.split(","))) <= extras.keys(), wanted
            else:
                assert re.fullmatch(r"[a-z][a-z0-9-]+([<>=]=?[\d.]+)?", name), wanted
        return ""

    def tool(self, args: list[str]) -> str:
        """Check a developer's command without running it: its files must exist."""
        named = [arg.partition("::")[0] for arg in args if re.match(r"(?!https?:)[\w.]+/", arg)]
        assert [arg for arg in named if not list(ROOT.glob(f"{arg}*"))] == []
        return ""

    def _tests(self, found: list[Block]) -> None:
        files = {block.title: block.text for block in found if (block.title or "").startswith("test_")}
        if files and not self.tested:
            said = self.process(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers")
            passed = re.search(r"(\d+) passed", said)
            assert passed is not None, said
            assert int(passed[1]) >= sum(text.count("def test_") for text in files.values()), said


Step = Callable[[Reader, Block], object]
RUNNERS: Mapping[str, Step] = {
    "diff": Reader.diff,
    "python": Reader.python,
    "yaml": Reader.yaml,
    "bash": Reader.bash,
    "console": Reader.console,
    "json": Reader.json,
    "toml": Reader.toml,
    "text": Reader.yaml_parsed,  # never called: the block is compared with the printed output
}
PARSERS: Mapping[str, Step] = {
    "python": Reader.compiled,
    "yaml": Reader.yaml_parsed,
    "bash": Reader.bash_parsed,
    "console": Reader.console_parsed,
    "text": lambda _, block: block,
    "js": lambda _, block: block,
    "mermaid": lambda _, block: block,
}
PROGRAMS: Mapping[str, Callable[[Reader, list[str]], str]] = {
    "openrouter-fallback": Reader.ours,
    "python": Reader.interpreter,
    "python3": Reader.interpreter,
    "export": Reader.export,
    "celery": Reader.celery,
    "make": Reader.make,
    "pip": Reader.pip,
    "curl": Reader.curl,
    **dict.fromkeys((".", "source", "cd", "mkdir"), lambda *_: ""),
    **dict.fromkeys(("bash", "git", "jupyter", "lint-imports", "mkdocs", "mypy", "pytest", "ruff"), Reader.tool),
}


def commands(lines: list[str]) -> list[str]:
    """The commands of a block. A line that ends with a backslash continues on the next line."""
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [line for line in joined if shlex.split(line, comments=True)]


def parsed(words: list[str]) -> None:
    """Parse a command of this project's command line without running it."""
    if Path(words[0]).name == "openrouter-fallback":
        group: Any = typer.main.get_command(app)
        context = group.context_class(group)
        name, *args = words[1:]
        group.get_command(context, name).make_context(name, args, parent=context)


_PARTS = re.compile(r"(\.\.\.|(?<![\w./-])\d[\d.,:]*|\s+)")


def same(shown: str, printed: str) -> None:
    """Assert that the shown text was printed. A number matches any number, `...` any text, blanks any blanks."""
    pattern = "".join(_pattern(part) for part in _PARTS.split(shown.strip()))
    assert re.search(rf"(?:^|\n){pattern}\s", printed + "\n"), f"shown is\n{shown}\nprinted was\n{printed}"


def _pattern(part: str) -> str:
    if part == "...":
        return r"[\s\S]*?"
    if part.isspace():
        return r"\s+"
    return r"[\d.,:]+" if part[:1].isdigit() and _PARTS.fullmatch(part) else re.escape(part)
