"""The command `drill`: what it prints, writes and returns, for a terminal, a pipe and CI."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from openrouter_fallback.drill import HEALTHY, Progress, shipped
from openrouter_fallback.drill.reporting.live import watching
from openrouter_fallback.drill.stage import DEADLINES

from ..support.commands import process, run

ROOT = Path(__file__).parents[2]
NAMED = {scenario.name: scenario for scenario in shipped()}
NAMES = [*NAMED]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports go here, and no configuration of the machine is used."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("OPENROUTER_FALLBACK_CONFIG", "")


def drill(*args: str | Path) -> Any:
    return run("drill", *args)


def test_it_prints_the_table_the_report_and_what_to_type_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    done = drill("--scenario", "rate-limited", "--config", "examples/fallback.yaml")
    assert done.exit_code == 0
    assert "429 Retry-After" in done.stdout
    assert "1 of 1 scenarios passed" in done.stdout
    assert "export OPENROUTER_API_KEY=sk-or-" in done.stdout
    assert "--config examples/fallback.yaml" in done.stdout
    report = Path(done.stdout.splitlines()[-1].removeprefix("The report, for a browser: "))
    assert report == tmp_path / "cache/openrouter-fallback/last-drill.html"
    assert report.read_text().startswith("<!DOCTYPE html>")


def test_who_has_a_key_is_not_told_to_set_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-v1-mine")
    done = drill("--scenario", "rate-limited")
    assert "Next, with your key" in done.stdout
    assert "export OPENROUTER_API_KEY" not in done.stdout


def test_a_drill_replaces_the_report_of_the_last_one_and_leaves_no_file(tmp_path: Path) -> None:
    kept = tmp_path / "cache/openrouter-fallback/last-drill.html"
    for name in ("rate-limited", "refused"):
        assert str(kept) in drill("--scenario", name).stdout
        assert NAMED[name].title in kept.read_text()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()] == [
        "cache/openrouter-fallback/last-drill.html"
    ]


def test_where_there_is_no_cache_directory_the_report_is_a_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    [report] = [line for line in drill("-s", "rate-limited").stdout.splitlines() if line.endswith(".html")]
    assert Path(report.removeprefix("The report, for a browser: ")).parent == tmp_path


def test_a_pipe_gets_a_line_for_each_scenario() -> None:
    done = drill("-s", "rate-limited", "-s", "agent", "--no-report")
    assert done.exit_code == 0
    assert done.stderr.splitlines() == [
        "[0/2] healthy: 12/12 answered, 12/12 without failover, PASS",
        "[1/2] 429 Retry-After: 12/12 answered, 0/12 without failover, PASS",
        "[2/2] broken tool call: 6/6 answered, 0/6 without failover, PASS",
    ]
    assert ".html" not in done.stdout


def test_as_json(tmp_path: Path) -> None:
    done = drill("--json", "-s", "rate-limited")
    said = json.loads(done.stdout)
    assert (done.exit_code, done.stderr, said["passed"], said["verdict"]) == (0, "", True, "passed")
    (limited,) = said["scenarios"]
    assert (limited["scenario"], limited["verdict"], limited["problems"]) == ("rate-limited", "passed", [])
    assert limited["with_failover"]["answered"] == limited["with_failover"]["calls"] == 12
    assert limited["without_failover"]["answered"] == 0
    assert limited["requests_while_known_dead"] == 0
    assert [one["fault"] for one in limited["with_failover"]["log"][0]["requests"]] == ["rate_limit_exceeded", None]
    assert said["shortened_deadlines"] == DEADLINES
    assert said["report"] is None
    assert list(tmp_path.iterdir()) == []


LONELY = "fallback: {default_chain: [openai/gpt-5.1]}\n"
WASTEFUL = """
faults: [{kind: provider_overloaded, model: primary}]
expect: {cost_usd_per_call: 0.00000001}
"""
VERDICTS = [
    ("rate-limited", LONELY, "degraded", "failed", 1),
    ("rate-limited", LONELY, "failed", "failed", 1),
    ("wasteful.yaml", None, "degraded", "degraded", 1),
    ("wasteful.yaml", None, "failed", "degraded", 0),
]


@pytest.mark.parametrize(("scenario", "config", "fail_on", "verdict", "status"), VERDICTS)
def test_the_exit_status_is_for_ci(
    tmp_path: Path, scenario: str, config: str | None, fail_on: str, verdict: str, status: int
) -> None:
    (tmp_path / "wasteful.yaml").write_text(WASTEFUL)
    (tmp_path / "one.yaml").write_text(config or "fallback: {default_chain: [a/a, b/b]}")
    named = tmp_path / scenario if scenario.endswith(".yaml") else scenario
    done = drill("--json", "-s", named, "-c", tmp_path / "one.yaml", "--fail-on", fail_on)
    assert (done.exit_code, json.loads(done.stdout)["verdict"]) == (status, verdict)


def test_a_failed_drill_says_why(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(LONELY)
    done = drill("--scenario", "rate-limited", "--config", tmp_path / "one.yaml", "--no-report")
    assert done.exit_code == 1
    assert "FAILED 429 Retry-After: 3 of 3 calls got no answer (RateLimitedError x3)" in done.stdout
    assert "nothing to fail over to" in done.stdout


def test_a_tasks_chain_can_be_drilled() -> None:
    config = ROOT / "examples" / "fallback.yaml"
    said = json.loads(drill("--json", "-s", "overloaded", "-c", config, "--task", "fast").stdout)
    assert said["chain"] == ["anthropic/claude-haiku-4.5", "openai/gpt-5-mini"]
    wrong = drill("--json", "-s", "overloaded", "-c", config, "--task", "fats")
    assert wrong.exit_code == 2
    assert "there is no task 'fats'; there are: coding, fast" in json.loads(wrong.stdout)["error"]["message"]


def test_it_lists_its_scenarios_and_knows_no_others() -> None:
    said = drill("--list").stdout
    assert [name for name in NAMES if name not in said] == []
    assert [one["name"] for one in json.loads(drill("--list", "--json").stdout)["scenarios"]] == NAMES
    wrong = drill("--scenario", "overloded")
    assert wrong.exit_code == 2
    assert "Did you mean overloaded?" in " ".join(wrong.stderr.split())


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("nowhere/drill.html", "there is no directory"),
        (".", "this is a directory; name the file in it"),
        ("/proc/drill.html", "No such file"),
    ],
)
def test_a_report_that_cannot_be_written_is_told_before_the_drill(tmp_path: Path, file: str, why: str) -> None:
    done = drill("--report", tmp_path / file)
    assert done.exit_code == 2
    assert why in done.stderr
    assert "healthy" not in done.stderr


def test_a_terminal_sees_who_serves_and_how_the_breakers_stand() -> None:
    out = io.StringIO()
    view = Console(file=out, force_terminal=True, width=100, color_system=None)
    with watching(view) as watch:
        states = {"a/a": "half_open", "b/b": "closed"}
        watch(Progress(HEALTHY, 0, 3))
        watch(Progress(HEALTHY, 2, 3, done=4, answered=3, serving="b/b", states=states))
    seen = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert any(line.endswith("2/3 healthy 3/4 answered") for line in seen)
    assert any("A a/a half-open answered 0" in line for line in seen)
    assert any("B b/b closed answered 1 ◀ serves now" in line for line in seen)


@pytest.mark.parametrize("missing", ["jinja2", "vl_convert"])
def test_without_the_extra_there_is_a_drill_and_no_report(missing: str) -> None:
    gone = f"import sys; sys.modules['{missing}'] = None"
    done = process("drill", "-s", "rate-limited", before=gone)
    assert done.returncode == 0, done.stderr
    assert f'No HTML report: it needs {missing}: pip install "openrouter-fallback[report]"' in done.stderr
    asked = process("drill", "-s", "rate-limited", "--report", "drill.html", before=gone)
    assert (asked.returncode, asked.stdout) == (2, "")
    assert 'pip install "openrouter-fallback[report]"' in asked.stderr
