"""Clients for Node against the server: `openai`, Vercel's `ai` with `@ai-sdk/openai-compatible`, `@langchain/openai`.

All of them run once, in one process, and each test looks at one line of what came of it. Their packages come from the
npm registry into `build/`, once; without Node or without the registry the tests are skipped.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from openrouter_fallback import FallbackClient, FallbackConfig
from openrouter_fallback.emulator import Emulator

from ..cases.matrix import FIRST, SECOND, SECOND_CALL, SECOND_TEXT
from ..support.clients import PATIENT, undiced
from ..support.serving import serving

HERE = Path(__file__).parent / "node"
ROOT = Path(__file__).parents[2]
CLIENTS = ("openai", "ai", "langchain")

# Case -> how its first model fails; "broken" and "wrong" have no second.
FAULTS: dict[str, tuple[str, dict[str, Any]] | None] = {
    "healthy": None,
    "before": ("rate_limit_exceeded", {}),
    "within": ("cut", {"after_tokens": 5}),
    "after": ("error_after_finish", {"finish": "stop"}),
    "tools": ("cut_tool_call", {"end": "silent"}),
    "structured": ("empty", {}),
    "endless": None,
    "broken": ("empty", {}),
    "interrupted": ("cut", {"after_tokens": 5}),
    "wrong": ("invalid_request", {}),
}
ALONE = ("broken", "interrupted", "wrong", "endless")


def first(case: str) -> str:
    return f"openai/{case}"


@pytest.fixture(scope="module")
def modules() -> Path:
    """A directory with the packages of `package.json`."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("there is no Node here: its clients are not tried")
    place = ROOT / "build" / "serve-node"
    wanted = (HERE / "package.json").read_text()
    if not (place / "installed").is_file() or (place / "installed").read_text() != wanted:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        shutil.copy(HERE / "package.json", place)
        install = [
            npm,
            "install",
            "--no-package-lock",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ]
        try:
            done = subprocess.run(install, cwd=place, capture_output=True, text=True, timeout=90)
        except subprocess.TimeoutExpired:
            pytest.skip("npm install took too long: the clients for Node are not tried")
        if done.returncode:
            pytest.skip(f"npm cannot install the clients for Node: {done.stderr[-300:]}")
        (place / "installed").write_text(wanted)
    shutil.copy(HERE / "clients.mjs", place)
    return place


@pytest.fixture(scope="module")
def results(modules: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    with Emulator() as emulator:
        emulator.pace(token_interval=0.01)
        for case, fault in FAULTS.items():
            text: str | None = SECOND_TEXT
            calls = [SECOND_CALL] if case == "tools" else None
            emulator.reply(text=None if calls else text, model=first(case))
            if fault is not None:
                emulator.fault(fault[0], model=first(case), **fault[1])
        emulator.reply(tokens=5000, model=first("endless"))
        emulator.reply(text=SECOND_TEXT, model=SECOND)
        emulator.reply(text=None, tool_calls=[SECOND_CALL], model="anthropic/tools")
        emulator.reply(text='{"city": "Bern", "people": 134000}', model="anthropic/structured")
        seconds = {"tools": "anthropic/tools", "structured": "anthropic/structured"}
        chains = {
            case: (first(case),) if case in ALONE else (first(case), seconds.get(case, SECOND)) for case in FAULTS
        }
        config = FallbackConfig(
            default_chain=(SECOND,),
            task_chains=chains,
            endpoints={"openrouter": {"base_url": emulator.base_url}},
            settings={
                "first_token_timeout_seconds": PATIENT,
                "stall_timeout_seconds": PATIENT,
                "min_samples": 1000,
                "retry_budget": None,
                "max_retries_per_model": 1,
            },
        )
        with (
            undiced(FallbackClient(config=config, api_key=emulator.api_key)) as client,
            serving(client) as server,
        ):
            node = shutil.which("node") or "node"
            done = subprocess.run(
                [node, "clients.mjs", server.base_url], cwd=modules, capture_output=True, text=True, timeout=90
            )
            assert done.returncode == 0, done.stderr[-2000:]
            emulator.wait_for(lambda log: all(one.ended != "open" for one in log))
            found = [json.loads(line) for line in done.stdout.splitlines()]
            counts = {case: emulator.count(first(case)) for case in FAULTS}
            left = [one for one in emulator.log if one.model == first("endless")]
    lines = {(one["client"], one["case"], one["way"]): one for one in found}
    return {**lines, ("all", "counts", ""): counts, ("all", "left", ""): {"ended": [one.ended for one in left]}}


@pytest.mark.parametrize("way", ["text", "stream"])
@pytest.mark.parametrize("case", ["healthy", "before", "within", "after"])
@pytest.mark.parametrize("name", CLIENTS)
def test_text(results: Any, name: str, case: str, way: str) -> None:
    assert results[name, case, way].get("result") == SECOND_TEXT, results[name, case, way]


@pytest.mark.parametrize("way", ["tools", "streamedTools"])
@pytest.mark.parametrize("name", CLIENTS)
def test_tools(results: Any, name: str, way: str) -> None:
    found = results[name, "tools", way]
    assert found.get("result") == [[SECOND_CALL["name"], SECOND_CALL["arguments"]]], found


@pytest.mark.parametrize("name", CLIENTS)
def test_structured_output(results: Any, name: str) -> None:
    found = results[name, "structured", "structured"]
    assert found.get("result") == {"city": "Bern", "people": 134000}, found


@pytest.mark.parametrize("name", CLIENTS)
def test_who_aborts_ends_the_request_upstream(results: Any, name: str) -> None:
    assert "error" not in results[name, "endless", "abort"], results[name, "endless", "abort"]
    assert results["all", "left", ""]["ended"] == ["gone"] * len(CLIENTS)


@pytest.mark.parametrize("way", ["text", "stream"])
@pytest.mark.parametrize("name", CLIENTS)
def test_an_exhausted_chain_is_an_error(results: Any, name: str, way: str) -> None:
    found = results[name, "broken", way]
    assert found["error"]["status"] == 503, found
    assert "All models exhausted" in found["error"]["message"]


@pytest.mark.parametrize("name", CLIENTS)
def test_an_interrupted_stream_is_an_error(results: Any, name: str) -> None:
    found = results[name, "interrupted", "stream"]
    assert "broke off" in found["error"]["message"], found


@pytest.mark.parametrize("name", CLIENTS)
def test_a_wrong_request_is_the_clients_own_error(results: Any, name: str) -> None:
    assert results[name, "wrong", "text"]["error"]["status"] == 400


def test_no_client_multiplies_an_outage(results: Any) -> None:
    """The openai client reads `x-should-retry: false`; the others are told not to retry."""
    assert results["all", "counts", ""]["broken"] == 2 * len(CLIENTS)


BLOCKS = re.findall(r"```js\n(.*?)```", (ROOT / "docs/serve.md").read_text(), re.DOTALL)


def test_the_pages_blocks_are_those_of_the_clients() -> None:
    assert [re.findall('from "(@?[a-z]+)', block)[-1] for block in BLOCKS] == ["openai", "ai", "@langchain"]


@pytest.mark.parametrize("block", BLOCKS, ids=CLIENTS)
def test_the_pages_settings_work_as_they_are_copied(
    modules: Path, client: FallbackClient, emulator: Emulator, block: str
) -> None:
    emulator.fault("rate_limit_exceeded", model=FIRST)
    file = modules / "copied.mjs"
    with serving(client) as server:
        file.write_text(block.replace("http://127.0.0.1:8788/v1", server.base_url))
        node = shutil.which("node") or "node"
        done = subprocess.run([node, file.name], cwd=modules, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"{SECOND_TEXT}\n"), done.stderr[-2000:]
