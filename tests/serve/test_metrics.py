"""What the operator sees: the access log, the log of failovers and circuits, the metrics."""

from __future__ import annotations

import json
import re
import signal
import socket
from pathlib import Path

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from openrouter_fallback import FallbackClient
from openrouter_fallback.emulator import Emulator

from ..cases.matrix import FIRST, SECOND, SECOND_TEXT
from ..support.serving import CALL, KEY, PACE, PROMPT, Served, post, process, serving


def test_the_access_log_is_a_line_of_json_without_prompt_and_key(emulator: Emulator) -> None:
    emulator.fault("server", model=FIRST)
    with process(emulator, SERVE_API_KEY=KEY) as (child, url):
        assert post(url, key=KEY).json()["choices"][0]["message"]["content"] == SECOND_TEXT
        assert post(url, key="wrong").status_code == 401
        with socket.create_connection(("127.0.0.1", httpx2.URL(url).port or 0), timeout=10) as broken:
            broken.sendall(b"no HTTP\r\n\r\n")
            assert broken.recv(100).startswith(b"HTTP/1.1 400 ")
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=15)
    answered, refused = (json.loads(line) for line in out.splitlines())
    assert answered["key"] == "default"
    assert (answered["model"], answered["status"], answered["outcome"]) == ("default", 200, "answered")
    assert answered["attempts"] == [f"{FIRST} unavailable"] * 2 + [f"{SECOND} answered"]
    assert answered["completion_tokens"] > 0
    assert answered["cost"] > 0
    assert (refused["status"], refused["code"], refused["attempts"]) == (401, "invalid_api_key", [])
    for secret in (PROMPT, SECOND_TEXT[:20], KEY, emulator.api_key):
        assert secret not in out + err
    (failover,) = err.splitlines()  # a broken request is no line of the log
    assert f"WARNING {FIRST} failed (unavailable 500, " in failover


def test_the_service_s_log_tells_of_failovers_and_circuits(emulator: Emulator) -> None:
    emulator.fault("provider_overloaded", model=FIRST)
    with process(emulator) as (child, url):
        for _ in range(4):
            assert post(url).status_code == 200
        child.send_signal(signal.SIGTERM)
        log = child.communicate(timeout=60)[1]
    assert re.search(rf"^\S+ \S+ WARNING {FIRST} failed \(overloaded 503, .* s\), going on with {SECOND}$", log, re.M)
    assert f"WARNING {FIRST}: circuit open (3 failures, the last: overloaded), next probe in " in log


def everything_happens(server: Served, emulator: Emulator) -> None:
    """A call that another model goes on with, and one that all refuse until their circuits are open."""
    emulator.pace(token_interval=PACE)
    emulator.reply(text=SECOND_TEXT, model=FIRST)
    emulator.fault("cut", model=FIRST, after_tokens=5)
    assert post(server.base_url, {**CALL, "stream": True}).text.endswith("data: [DONE]\n\n")
    emulator.clear()
    emulator.fault("model_not_found")
    assert post(server.base_url).status_code == 404


def test_the_metrics_tell_attempts_failovers_seams_cost_and_breakers(
    client: FallbackClient, emulator: Emulator
) -> None:
    with serving(client) as server:
        everything_happens(server, emulator)
        assert httpx2.get(f"{server.origin}/readyz").status_code == 200  # although every circuit is open
        numbers = httpx2.get(f"{server.origin}/metrics").text
    wanted = [
        f'openrouter_fallback_attempts_total{{kind="answered",model="{SECOND}"}} 1.0',
        f'openrouter_fallback_attempts_total{{kind="not_found",model="{FIRST}"}} 1.0',
        f'openrouter_fallback_failovers_total{{kind="bad_answer",model="{FIRST}"}} 1.0',
        f'openrouter_fallback_seams_total{{after="{SECOND}",before="{FIRST}"}} 1.0',
        f'openrouter_fallback_breaker{{model="{SECOND}",state="open"}} 1.0',
        f'openrouter_fallback_breaker_changes_total{{name="{SECOND}",scope="model",state="open"}} 1.0',
        'openrouter_fallback_first_token_seconds_count{chain="default"} 1.0',
        'openrouter_fallback_call_seconds_count{chain="default"} 2.0',
        "openrouter_fallback_calls_in_flight 0.0",
    ]
    assert [line for line in wanted if line not in numbers] == []
    cost = re.search(rf'openrouter_fallback_cost_usd_total{{model="{SECOND}"}} (\S+)', numbers)
    assert cost is not None
    assert float(cost[1]) > 0


ROW = re.compile(r"^\| `(openrouter_fallback_\w+)` \| (\w+) \| ([^|]*)\|", re.MULTILINE)


def test_the_metrics_are_those_of_the_page(client: FallbackClient, emulator: Emulator) -> None:
    page = (Path(__file__).parents[2] / "docs/serve.md").read_text()
    told = {
        name: (kind, {label.strip(" `") for label in labels.split(",")} - {""})
        for name, kind, labels in ROW.findall(page)
    }
    with serving(client) as server:
        everything_happens(server, emulator)
        numbers = httpx2.get(f"{server.origin}/metrics").text
    kinds = dict(re.findall(r"^# TYPE (\S+) (\w+)$", numbers, re.MULTILINE))
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(numbers):
        for sample in family.samples:
            name = re.sub("_(bucket|sum|count)$", "", sample.name)
            labels.setdefault(name, set()).update(set(sample.labels) - {"le"})
    names = {name: kind for name, kind in kinds.items() if not name.endswith("_created")}
    assert {name: (kind, labels.get(name)) for name, kind in names.items()} == told
