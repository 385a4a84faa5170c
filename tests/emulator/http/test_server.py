"""The server itself: its log, its life and its borders."""

from __future__ import annotations

import gc
import signal
import socket
import subprocess
import sys
import threading
import warnings
from contextlib import ExitStack, closing, suppress
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

import openrouter_fallback.emulator as package
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.emulator.http.connection import Connection

from ..helpers import MODEL, Asker, request


def test_the_public_names() -> None:
    assert package.__all__ == ["FAULTS", "MODELS", "Emulator", "FaultHandle", "Kind", "Request", "ScriptError"]


def test_a_request_in_the_log(emulator: Emulator, ask: Asker) -> None:
    ask.chunks(temperature=0.5)
    (entry,) = emulator.log
    assert (entry.number, entry.model, entry.stream, entry.status, entry.fault) == (1, MODEL, True, 200, None)
    assert (entry.ended, entry.tokens_sent) == ("finished", 20)
    assert entry.first_token_at is not None
    assert entry.finished_at is not None
    assert entry.opened_at <= entry.first_token_at <= entry.finished_at
    assert entry.body["temperature"] == 0.5
    assert entry.headers["authorization"] == "***"
    assert emulator.api_key not in repr(entry) + str(entry.headers)


def test_counting(emulator: Emulator, ask: Asker) -> None:
    ask.body()
    ask.body(model="a/b")
    assert (emulator.count(), emulator.count(MODEL), emulator.count("c/d")) == (2, 1, 0)
    emulator.fault("server")
    emulator.clear()
    assert emulator.count() == 0
    assert ask.post().status_code == 200


def test_a_log_that_keeps_the_last_requests_counts_all() -> None:
    with Emulator(keep=2) as emulator, closing(Asker(emulator).http) as http:
        emulator.fault("server", requests=2)
        for _ in range(5):
            http.post("/chat/completions", json=request())
        assert [request.number for request in emulator.log] == [4, 5]
        assert emulator.tally == {"server": 2, None: 3}
        emulator.clear()
        assert (emulator.log, emulator.tally) == ([], {})


@pytest.mark.parametrize("calls", [[{"nme": "x"}], [5], [{"name": 5}]])
def test_a_tool_call_without_a_name_is_a_mistake(emulator: Emulator, calls: Any) -> None:
    with pytest.raises(ValueError, match="each of tool_calls"):
        emulator.reply(tool_calls=calls)


def test_a_log_that_keeps_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="keep=0"):
        Emulator(keep=0)


def test_refused_requests_are_in_the_log(emulator: Emulator, ask: Asker) -> None:
    ask.post(messages=[])
    (entry,) = emulator.log
    assert (entry.model, entry.status, entry.ended, entry.fault) == (MODEL, 400, "fault", None)


def test_a_client_that_leaves_is_noticed(emulator: Emulator, ask: Asker) -> None:
    emulator.pace(latency=0.001, token_interval=60)
    with ask.http.stream("POST", "/chat/completions", json=request(stream=True)) as response:
        log = emulator.wait_for(lambda log: log and log[0].tokens_sent == 1)
        assert (log[0].ended, log[0].finished_at) == ("open", None)
        assert response.status_code == 200
    log = emulator.wait_for(lambda log: log[0].ended == "gone")
    assert log[0].tokens_sent == 1


async def test_waiting_in_a_coroutine(emulator: Emulator) -> None:
    emulator.fault("stall", after_tokens=2)
    headers = {"Authorization": f"Bearer {emulator.api_key}"}
    async with httpx2.AsyncClient(base_url=emulator.base_url, headers=headers) as http:
        async with http.stream("POST", "/chat/completions", json=request(stream=True)):
            await emulator.await_for(lambda log: log and log[0].tokens_sent == 2)
        await emulator.await_for(lambda log: log[0].ended == "gone")


def test_waiting_in_vain_shows_the_log(emulator: Emulator, ask: Asker) -> None:
    ask.body()
    with pytest.raises(AssertionError, match=MODEL):
        emulator.wait_for(lambda log: len(log) == 2, timeout=0.01)


def test_the_pace(emulator: Emulator, ask: Asker) -> None:
    emulator.pace(latency=0.01, token_interval=0.001)
    emulator.reply(tokens=5)
    ask.chunks()
    ask.body()
    for entry in emulator.log:
        assert entry.first_token_at is not None
        assert entry.first_token_at - entry.opened_at >= 0.01


def test_the_pace_of_one_model(emulator: Emulator, ask: Asker) -> None:
    emulator.pace(model="a/slow", latency=0.02)
    emulator.pace(model="a/slow", token_interval=0.001)
    for model in ("a/slow", MODEL):
        ask.chunks(model=model)
    slow, quick = ((entry.first_token_at or 0) - entry.opened_at for entry in emulator.log)
    assert slow >= 0.02 > quick


class Asleep:
    """In place of the connection's sleep: what it would have waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds: list[float] = []
        monkeypatch.setattr(Connection, "sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)


def waits(monkeypatch: pytest.MonkeyPatch, **paces: float) -> list[float]:
    asleep = Asleep(monkeypatch)
    with Emulator(**paces) as emulator:  # type: ignore[arg-type]
        ask = Asker(emulator)
        ask.chunks()
        ask.http.close()
    return asleep.seconds


def test_jitter_is_a_seeded_dice(monkeypatch: pytest.MonkeyPatch) -> None:
    paced = {"latency": 2.0, "token_interval": 0.1}
    assert waits(monkeypatch, **paced) == [2.0, *[0.1] * 19]
    first, *between = waits(monkeypatch, **paced, jitter=0.5, seed=1)
    assert 1.0 <= first <= 3.0
    assert all(0.05 <= seconds <= 0.15 for seconds in between)
    assert len(set(between)) == 19
    assert waits(monkeypatch, **paced, jitter=0.5, seed=1) == [first, *between]
    assert waits(monkeypatch, **paced, jitter=0.5, seed=2) != [first, *between]


def test_jitter_is_a_share(emulator: Emulator) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        emulator.pace(jitter=1.5)


@pytest.mark.parametrize("kind", ["silence", "stall", "stall_dead", "no_response", "silence_after_finish"])
def test_stop_drops_what_is_open(kind: str) -> None:
    emulator = Emulator().start()
    emulator.fault(kind)
    dropped = threading.Event()

    def client() -> None:
        ask = Asker(emulator)
        try:
            ask.post(stream=True)
        except httpx2.TransportError:
            dropped.set()
        finally:
            ask.http.close()

    thread = threading.Thread(target=client)
    thread.start()
    emulator.wait_for(lambda log: log and (log[0].status or kind == "no_response"))
    emulator.stop()
    thread.join()
    assert dropped.is_set()
    assert emulator.log[0].ended == "open"
    emulator.stop()


def connect_many(base_url: str, clients: ExitStack, begun: threading.Event) -> None:
    address = urlsplit(base_url)
    with suppress(OSError):  # it has stopped
        for _ in range(200):
            clients.enter_context(closing(socket.create_connection((address.hostname, address.port))))
            begun.set()


def test_stop_closes_what_was_just_accepted() -> None:
    """Else the garbage collector warns of it later, in whichever test runs then."""
    gc.collect()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", ResourceWarning)
        for _ in range(5):
            with ExitStack() as clients, Emulator() as emulator:
                begun = threading.Event()
                connecting = threading.Thread(target=connect_many, args=(emulator.base_url, clients, begun))
                connecting.start()
                begun.wait()
                emulator.stop()
                connecting.join()
        gc.collect()
    assert [str(one.message) for one in warned if issubclass(one.category, ResourceWarning)] == []


def test_it_comes_back_at_the_same_address() -> None:
    emulator = Emulator()
    with pytest.raises(RuntimeError, match="no port yet"):
        _ = emulator.base_url
    with emulator:
        url = emulator.base_url
        with pytest.raises(RuntimeError, match="running already"):
            emulator.start()
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{url}/models")
    with emulator:
        assert emulator.base_url == url
        assert httpx2.get(f"{url}/models").status_code == 200


async def test_in_a_coroutine() -> None:
    async with Emulator() as emulator, httpx2.AsyncClient() as http:
        assert (await http.get(f"{emulator.base_url}/models")).status_code == 200


def test_an_address_that_refuses(emulator: Emulator) -> None:
    url = emulator.refused_url()
    assert url == emulator.refused_url()
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{url}/models")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.1", "example.com", "::"])
def test_loopback_only(host: str) -> None:
    with pytest.raises(ValueError, match="loopback only"):
        Emulator(host=host)


def test_localhost_is_loopback() -> None:
    with Emulator(host="localhost") as emulator:
        assert emulator.base_url.startswith("http://127.0.0.1:")


def test_a_port_that_is_taken(emulator: Emulator) -> None:
    port = int(emulator.base_url.split(":")[2].split("/")[0])
    with pytest.raises(OSError, match="in use"):
        Emulator(port=port).start()


def test_coalesced_streams_say_the_same(ask: Asker) -> None:
    with Emulator(coalesce=True, comments=3) as emulator:
        other = Asker(emulator)
        text = other.post(stream=True).text
        assert text.count(": OPENROUTER PROCESSING\n\n") == 3
        assert [c["choices"] for c in other.chunks()] == [c["choices"] for c in ask.chunks()]
        assert emulator.log[0].tokens_sent == 20
        other.http.close()


def test_many_at_a_time(emulator: Emulator) -> None:
    emulator.reply(tokens=200)
    asker = Asker(emulator)
    threads = [threading.Thread(target=asker.chunks) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asker.http.close()
    assert {(entry.ended, entry.tokens_sent) for entry in emulator.log} == {("finished", 200)}


@pytest.mark.parametrize("how", ["stdin", "SIGTERM"])
def test_in_a_process_of_its_own(how: str) -> None:
    command = [sys.executable, "-m", "openrouter_fallback.emulator", "--tokens", "7"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        url, key = (process.stdout.readline().strip() for _ in range(2))
        response = httpx2.post(f"{url}/chat/completions", json=request(), headers={"Authorization": f"Bearer {key}"})
        assert response.json()["usage"]["completion_tokens"] == 7
        if how == "stdin":
            process.stdin.close()
        else:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_without_the_extra(missing: str) -> None:
    code = f"import sys; sys.modules['{missing}'] = None\nimport openrouter_fallback.emulator"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "openrouter-fallback[emulator]" in done.stderr.splitlines()[-1]


def test_the_pytest_fixture(openrouter_emulator: Emulator) -> None:
    headers = {"Authorization": f"Bearer {openrouter_emulator.api_key}"}
    response: Any = httpx2.get(f"{openrouter_emulator.base_url}/key", headers=headers)
    assert response.status_code == 200
