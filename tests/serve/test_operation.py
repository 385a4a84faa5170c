"""The server as a process: signals, workers, and what cannot be started."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest

from openrouter_fallback.emulator import Emulator

from ..cases.matrix import FIRST, SECOND, SECOND_TEXT
from ..support.commands import command, run
from ..support.redis_server import RedisServer, binaries
from ..support.serving import CALL, Streaming, post, process, uploading

MICRO, NANO = Decimal("1e-6"), Decimal("1e-9")
DEAR, FREE = "anthropic/claude-sonnet-4.5", "openai/gpt-oss-20b:free"


def test_a_call_under_way_ends_before_the_server_does(emulator: Emulator) -> None:
    emulator.pace(token_interval=0.05)
    with process(emulator) as (child, url):
        origin = url.removesuffix("/v1")
        assert httpx2.get(f"{origin}/readyz").text == "ready\n"
        assert httpx2.head(f"{origin}/readyz").status_code == 200
        stream = Streaming(url)
        child.send_signal(signal.SIGTERM)
        while (ready := httpx2.get(f"{origin}/readyz")).status_code == 200:
            pass
        assert (ready.status_code, ready.text) == (503, "draining\n")
        assert httpx2.get(f"{origin}/healthz").status_code == 200
        refused = post(url)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "x-should-retry" not in refused.headers
        assert stream.ended()[-1] == "[DONE]"
        out, err = child.communicate(timeout=15)
    assert child.returncode == 0
    assert "Traceback" not in err
    assert err.count("WARNING stopping: a call has 30 s to end; a second signal ends the server at once\n") == 1
    lines = [json.loads(line) for line in out.splitlines()]
    assert {(line["outcome"], line["code"]) for line in lines} == {("refused", "draining"), ("answered", None)}


def test_a_call_whose_body_still_comes_ends_before_the_server_does(emulator: Emulator) -> None:
    with process(emulator) as (child, url), uploading(url) as answer:
        child.send_signal(signal.SIGTERM)
        while httpx2.get(f"{url.removesuffix('/v1')}/readyz").status_code == 200:
            pass
        assert answer().startswith(b"HTTP/1.1 200 ")
        child.communicate(timeout=15)
    assert child.returncode == 0


@pytest.mark.parametrize("hurry", ["drain-seconds have passed", "a second signal"])
def test_a_call_that_outlasts_the_drain_ends_with_an_error(emulator: Emulator, hurry: str) -> None:
    emulator.fault("stall", after_tokens=3)
    again = hurry == "a second signal"
    with process(emulator, "--drain-seconds", "60" if again else "0.2") as (child, url):
        stream = Streaming(url)
        child.send_signal(signal.SIGINT)
        if again:
            while httpx2.get(f"{url.removesuffix('/v1')}/readyz").status_code == 200:
                pass  # two signals at once could be taken for one
            child.send_signal(signal.SIGTERM)
        lines = stream.ended()
        _, err = child.communicate(timeout=15)
    assert child.returncode == 0
    assert json.loads(lines[-1])["error"]["code"] == "draining"
    assert "Traceback" not in err


def test_several_workers_answer_count_together_and_stop_together(emulator: Emulator) -> None:
    with process(emulator, "--workers", "2") as (child, url):
        for _ in range(6):
            assert post(url).status_code == 200
        numbers = httpx2.get(f"{url.removesuffix('/v1')}/metrics").text
        found = re.search(r'openrouter_fallback_calls_total\{.*outcome="answered".*\} (\S+)', numbers)
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=15)
    assert found is not None
    assert float(found[1]) == 6.0
    assert (child.returncode, len(out.splitlines())) == (0, 6)
    assert "Traceback" not in err


@pytest.mark.skipif(not binaries(), reason="there is no Redis server here")
def test_several_workers_share_health_through_redis(emulator: Emulator, tmp_path: Path) -> None:
    emulator.fault("provider_overloaded", model=FIRST)
    file = tmp_path / "fallback.yaml"
    with RedisServer(next(iter(binaries().values()))) as redis:
        file.write_text(f"fallback: {{default_chain: [{FIRST}, {SECOND}], settings: {{health_store: '{redis.url}'}}}}")
        with process(emulator, "--config", str(file), "--workers", "2") as (child, url):
            open_in_a_row = 0
            while open_in_a_row < 6:  # either worker may answer
                assert post(url).json()["choices"][0]["message"]["content"] == SECOND_TEXT
                numbers = httpx2.get(f"{url.removesuffix('/v1')}/metrics").text
                is_open = f'breaker{{model="{FIRST}",state="open"}} 1.0' in numbers
                open_in_a_row = open_in_a_row + 1 if is_open else 0
            child.send_signal(signal.SIGTERM)
            child.communicate(timeout=15)
    assert child.returncode == 0


@pytest.mark.skipif(not binaries(), reason="there is no Redis server here")
def test_several_workers_keep_one_limit_per_day_through_redis(emulator: Emulator, tmp_path: Path) -> None:
    """Only what is spent between two exchanges may exceed it: here each call is told before the next one."""
    emulator.reply(tokens=1000, model=DEAR)
    paid, free = {**CALL, "max_tokens": 1000}, {**CALL, "model": "task:free"}
    limit, cost = Decimal("0.04"), Decimal("0.015")  # and the prompt: two calls, not three
    file, before = tmp_path / "fallback.yaml", emulator.spent
    with RedisServer(next(iter(binaries().values()))) as redis, redis.admin().monitor() as monitor:
        settings = f"{{health_store: '{redis.url}', spend_limit_usd: {{per_day: {limit}}}, catalog: always}}"
        chains = f"default_chain: [{DEAR}], task_chains: {{free: [{FREE}]}}"
        file.write_text(f"fallback: {{{chains}, settings: {settings}}}")
        seen = (one["command"] for one in monitor.listen())

        sums: dict[str, Decimal] = {}

        def told() -> None:
            """All that was spent is in the store, and after four exchanges more both workers have heard of it."""
            while sum(sums.values()) < emulator.spent - before - MICRO:
                name, *words = next(seen).split()
                if name == "HSET" and ":spent:" in words[0]:
                    sums[words[1]] = int(words[2].partition(":")[0]) * NANO
            assert [next(command for command in seen if command == "TIME") for _ in range(4)]

        with process(emulator, "--config", str(file), "--workers", "2") as (child, url):
            workers: set[str] = set()
            while len(workers) < 2:  # a worker exchanges from its first call on
                assert post(url, free).status_code == 200
                clients = redis.admin().client_list()
                workers = {one["id"] for one in clients if one["cmd"].split("|")[0] in ("exec", "hscan", "time")}
            answered = 0
            while (answer := post(url, paid)).status_code == 200:
                answered += 1
                told()
            refused = [post(url, paid) for _ in range(8)]  # either worker may answer
            child.send_signal(signal.SIGTERM)
            child.communicate(timeout=15)
    assert {one.status_code for one in (answer, *refused)} == {402}
    assert "per day" in answer.text
    assert answered == emulator.count(DEAR) == 2
    assert 2 * cost < emulator.spent - before <= limit


MISTAKES: list[tuple[tuple[str, ...], str]] = [
    (("-m", FIRST, "--host", "0.0.0.0"), "callers need API keys"),
    (("-m", FIRST, "--api-keys-file", "nowhere.yaml"), "nowhere.yaml: No such file"),
    ((), "nothing to serve"),
]


@pytest.mark.parametrize(("args", "said"), MISTAKES, ids=[row[1] for row in MISTAKES])
def test_what_cannot_be_started_says_why(args: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-v1-none")
    done = run("serve", *args)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_port_that_is_taken_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-v1-none")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("serve", "-m", FIRST, "--port", str(taken.getsockname()[1]))
    assert (done.exit_code, "choose another with --port" in done.stderr) == (2, True)


@pytest.mark.parametrize("key", ["", "sk-or-v1-none"])
def test_a_key_that_is_not_there_is_told_at_the_start(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", key)
    with socket.create_server(("127.0.0.1", 0)) as taken:  # so that it ends
        done = run("serve", "-m", FIRST, "--port", str(taken.getsockname()[1]))
    told = "warning: key of openrouter: OPENROUTER_API_KEY is not set, so calls of its models fail" in done.stderr
    assert told is not bool(key)


def test_without_the_extra_it_says_what_to_install() -> None:
    started = command("serve", "-m", FIRST, before="import sys; sys.modules['prometheus_client'] = None")
    done = subprocess.run(started, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert "openrouter-fallback[serve]" in done.stderr
