"""The server as its operator has it: signals, workers, probes, metrics, the access log, bounds, keys, CORS."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from openrouter_fallback import (
    CatalogError,
    ConfigError,
    FallbackClient,
    FallbackError,
)
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.serve import ApiKey, ApiKeys, Bounds, Options
from openrouter_fallback.serve.errors import problem

from ..cases.matrix import FIRST, SECOND, SECOND_TEXT
from ..support.commands import command, run
from ..support.redis_server import RedisServer, binaries
from ..support.serving import Served, serving

KEY = "serve-key-0123456789"
PROMPT = "a prompt that stands in no log"
CALL: dict[str, Any] = {"model": "default", "messages": [{"role": "user", "content": PROMPT}]}
PACE = 0.02
MICRO, NANO = Decimal("1e-6"), Decimal("1e-9")
DEAR, FREE = "anthropic/claude-sonnet-4.5", "openai/gpt-oss-20b:free"


def post(base_url: str, body: dict[str, Any] = CALL, key: str = "", **headers: str) -> httpx2.Response:
    if key:
        headers["authorization"] = f"Bearer {key}"
    return httpx2.post(f"{base_url}/chat/completions", json=body, headers=headers, timeout=30)


@contextmanager
def process(
    emulator: Emulator, *args: str, before: str = "", **variables: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command as a process, and its base URL; `before` is Python that runs first in it."""
    environment = {**os.environ, "OPENROUTER_BASE_URL": emulator.base_url, "OPENROUTER_API_KEY": emulator.api_key}
    chain = () if "--config" in args else ("-m", FIRST, "-m", SECOND)
    started = command("serve", *chain, "--port", "0", *args, before=before)
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(started, env={**environment, **variables}, **pipes) as child:
        assert child.stderr is not None
        try:
            said: list[str] = []  # the configuration's name, warnings, and then where it serves
            while (found := re.search(r"http://\S+/v1", "".join(said))) is None:
                said.append(child.stderr.readline())
                assert said[-1], said
            yield child, found[0]
        finally:
            child.kill()


class Streaming:
    """A call in a thread of its own; `begun` is set with its first line. Once `leave` is set it stops reading."""

    def __init__(self, base_url: str) -> None:
        self.lines: list[str] = []
        self.begun = threading.Event()
        self.leave = threading.Event()
        self._url = base_url
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        assert self.begun.wait(10)

    def _read(self) -> None:
        body = {**CALL, "stream": True}
        with httpx2.stream("POST", f"{self._url}/chat/completions", json=body, timeout=30) as response:
            for line in filter(None, response.iter_lines()):
                self.lines.append(line.removeprefix("data: "))
                self.begun.set()
                if self.leave.is_set():
                    break

    def ended(self) -> list[str]:
        self._thread.join(15)
        assert not self._thread.is_alive()
        return self.lines


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
    lines = [json.loads(line) for line in out.splitlines()]
    assert {(line["outcome"], line["code"]) for line in lines} == {("refused", "draining"), ("answered", None)}


@contextmanager
def uploading(base_url: str) -> Iterator[Callable[[], bytes]]:
    """A call whose headers the server has read and whose body is still to come; what sends it and reads the answer."""
    body = json.dumps(CALL).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection(("127.0.0.1", httpx2.URL(base_url).port or 0), timeout=15) as connection:
        kind = "Content-Type: application/json\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n"
        connection.sendall((head + kind).encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")

        def answer() -> bytes:
            connection.sendall(body)
            return b"".join(iter(lambda: connection.recv(65536), b""))

        yield answer


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


KEYS = [
    ("keys: [{name: a, key: sixteen-or-more-1}]", None),
    (f"keys: [{{name: a, sha256: {'0f' * 32}, chains: [default]}}]", None),
    ("keys: [{name: a, key: short}]", "too short"),
    ("keys: []", "keys: List should have at least 1"),
    ("keys: [{name: a}]", "give either `key` or `sha256`"),
    ("keys: [{name: 'a b', key: sixteen-or-more-1}]", "keys.0.name"),
    ("keys: [{name: a, key: sixteen-or-more-1, chain: x}]", "keys.0.chain"),
    ("keys: [{name: a, key: sixteen-or-more-1}, {name: a, key: sixteen-or-more-2}]", "the same name"),
    ("keys: [{name: a, key: sixteen-or-more-1}, {name: b, key: sixteen-or-more-1}]", "the same key"),
    ("just a text", "Input should be"),
    ("{", "not YAML"),
]


@pytest.mark.parametrize(("text", "said"), KEYS, ids=[row[0] for row in KEYS])
def test_a_file_of_keys(tmp_path: Path, text: str, said: str | None) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(text)
    if said is None:
        assert "sixteen" not in repr(ApiKeys.load(file))
        return
    with pytest.raises(ConfigError) as caught:
        ApiKeys.load(file)
    assert said in str(caught.value)
    assert "sixteen" not in str(caught.value)


def test_each_key_has_a_name_in_the_metrics_and_its_own_chains(client: FallbackClient, emulator: Emulator) -> None:
    keys = ApiKeys([ApiKey.of("web", KEY), ApiKey.of("batch", f"{KEY}-2", [FIRST])])
    with serving(client, Options(keys=keys, access_log=False)) as server:
        assert post(server.base_url, key=KEY).status_code == 200
        assert post(server.base_url, {**CALL, "model": FIRST}, key=f"{KEY}-2").status_code == 200
        refused = post(server.base_url, key=f"{KEY}-2")
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")
        listed = httpx2.get(f"{server.base_url}/models", headers={"authorization": f"Bearer {KEY}-2"}).json()
        assert [model["id"] for model in listed["data"]] == [FIRST]
        paths = ("/healthz", "/readyz", "/metrics", "/v1/models")
        assert [httpx2.get(f"{server.origin}{path}").status_code for path in paths] == [200, 200, 401, 401]
        numbers = httpx2.get(f"{server.origin}/metrics", headers={"authorization": f"Bearer {KEY}"}).text
    assert 'calls_total{chain="default",key="web",outcome="answered",status="200"} 1.0' in numbers
    assert f'calls_total{{chain="{FIRST}",key="batch",outcome="answered",status="200"}} 1.0' in numbers


@pytest.mark.parametrize(("asked", "meant"), [("gpt-5", "openai/gpt-5"), ("task:codign", "task:coding")])
def test_an_unknown_model_is_answered_with_the_one_that_was_meant(emulator: Emulator, asked: str, meant: str) -> None:
    chains = {"default_chain": ["anthropic/claude-sonnet-4.5", "openai/gpt-5"], "task_chains": {"coding": ["a/b"]}}
    with serving(FallbackClient(config=chains, base_url=emulator.base_url, api_key=emulator.api_key)) as server:
        refused = post(server.base_url, {**CALL, "model": asked})
    assert refused.status_code == 404
    assert f"Did you mean {meant!r}? 'default' is the whole chain." in refused.json()["error"]["message"]


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


def test_one_call_too_many_is_refused_and_told_when_to_come_back(client: FallbackClient, emulator: Emulator) -> None:
    emulator.pace(token_interval=0.05)
    with serving(client, Options(bounds=Bounds(calls=1), access_log=False)) as server:
        emulator.reply(tokens=2000)  # longer than any machine takes for one more request
        stream = Streaming(server.base_url)
        emulator.reply("Hello")
        refused = post(server.base_url)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["error"]["code"] == "busy"
        stream.leave.set()
        assert "[DONE]" not in stream.ended()
        while (answered := post(server.base_url)).status_code == 503:
            pass
        assert answered.status_code == 200
    assert emulator.count() == 2


def test_a_call_whose_body_still_comes_has_its_place(client: FallbackClient, emulator: Emulator) -> None:
    options = Options(bounds=Bounds(calls=1), access_log=False)
    with serving(client, options) as server, uploading(server.base_url) as answer:
        assert post(server.base_url).status_code == 503
        assert answer().startswith(b"HTTP/1.1 200 ")
        assert post(server.base_url).status_code == 200
    assert emulator.count() == 2


def test_one_connection_too_many_is_closed(client: FallbackClient, emulator: Emulator) -> None:
    with (
        serving(client, Options(bounds=Bounds(connections=1), access_log=False)) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=5) as first,
        socket.create_connection(("127.0.0.1", server.port), timeout=5) as second,
    ):
        with suppress(ConnectionError):
            assert second.recv(100) == b""
        first.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert first.recv(100).startswith(b"HTTP/1.1 200 ")


def test_every_error_of_a_call_has_a_status() -> None:
    classes = [cls for cls in FallbackError.__subclasses__() if cls.__module__ == "openrouter_fallback.errors"]
    found = {cls.__name__: problem(cls("x")) for cls in classes if cls is not CatalogError}
    assert [name for name, said in found.items() if said.body["error"]["code"] == "server_error"] == ["LocalError"]
    unsure = problem(RuntimeError("a prompt"))
    assert (unsure.status, "prompt" in str(unsure.body)) == (500, False)


ORIGIN = "https://app.example"


@pytest.mark.parametrize("origins", [(), (ORIGIN,)], ids=["none named", "one named"])
def test_only_pages_of_a_named_origin_may_call(
    client: FallbackClient, emulator: Emulator, origins: tuple[str, ...]
) -> None:
    ask = {"origin": ORIGIN, "access-control-request-method": "POST", "access-control-request-headers": "x-any"}
    with serving(client, Options(origins=origins, access_log=False)) as server:
        preflight = httpx2.options(f"{server.base_url}/chat/completions", headers=ask)
        answer = post(server.base_url, origin=ORIGIN)
        other = post(server.base_url, origin="https://evil.example")
    allowed = ORIGIN if origins else None
    assert preflight.status_code == (200 if origins else 405)
    assert preflight.headers.get("access-control-allow-origin") == allowed
    assert answer.headers.get("access-control-allow-origin") == allowed
    assert "access-control-allow-origin" not in other.headers


# A client that does not read


def slow_reader(server: Served) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", server.port))
    body = json.dumps({**CALL, "stream": True}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    connection.sendall(f"{head}Content-Type: application/json\r\nConnection: close\r\n\r\n".encode() + body)
    return connection


TOKENS = 40_000


def test_a_client_that_does_not_read_holds_the_model_back(client: FallbackClient, emulator: Emulator) -> None:
    """What was sent for it stays far from the whole, and comes to rest; once it reads it gets all."""
    tokens = 100_000  # 33 MB: the kernel's buffers of two connections alone hold about 10 MB
    emulator.reply(tokens=tokens, model=FIRST)
    with serving(client) as server, slow_reader(server) as connection:
        emulator.wait_for(lambda log: log and log[0].tokens_sent, timeout=60)  # so many tokens take a while to make
        pause, sent, same = threading.Event(), -1, 0
        while same < 5:
            pause.wait(0.1)
            now = emulator.log[0].tokens_sent
            same, sent = (same + 1 if now == sent else 0), now
        assert sent < tokens * 0.8
        assert emulator.log[0].ended == "open"
        tail = b""
        while data := connection.recv(2**20):
            tail = (tail + data)[-100:]
    assert b"data: [DONE]\n\n" in tail
    assert emulator.log[0].tokens_sent >= tokens


def test_a_client_that_never_reads_is_dropped(client: FallbackClient, emulator: Emulator) -> None:
    emulator.reply(tokens=TOKENS, model=FIRST)
    bounds = Bounds(write_seconds=0.3)
    with serving(client, Options(bounds=bounds, access_log=False)) as server, slow_reader(server):
        emulator.wait_for(lambda log: log and log[0].ended == "gone", timeout=15)
        while server.app.under_way:
            pass
        answer = post(server.base_url, {**CALL, "model": SECOND}).json()
    assert answer["choices"][0]["message"]["content"] == SECOND_TEXT
