"""Who may call, and how much: API keys, chains, origins, calls and connections at a time, clients that do not read."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from openrouter_fallback import ConfigError, FallbackClient
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.serve import ApiKey, ApiKeys, Bounds, Options

from ..cases.matrix import FIRST, SECOND, SECOND_TEXT
from ..support.serving import CALL, KEY, Served, Streaming, post, serving, uploading

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
