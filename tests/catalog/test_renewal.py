"""Keeping the catalog fresh in the background: when, how often, and what a call notices of it: nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from openrouter_fallback import AllModelsFailedError, FallbackClient
from openrouter_fallback.catalog import refresh as renewal

from ..support.rawserver import RawServer, Reply, sse
from ..support.surfaces import SURFACES, ask

KEY = "sk-or-v1-0123456789abcdef0123456789abcdef"
SONNET = "anthropic/claude-sonnet-4.5"
ANSWER = Reply([sse({"choices": [{"delta": {"content": "hi"}, "finish_reason": "stop"}]}, "[DONE]")])
LISTING = Reply([json.dumps({"data": [{"id": SONNET}]}).encode()])
PRICES = {"prompt": "0.000003", "completion": "0.000015"}
PRICED = Reply([json.dumps({"data": [{"id": SONNET, "pricing": PRICES}]}).encode()])
REFUSED = Reply([b"{}"], status=500)


def _client(raw: RawServer, catalog: str) -> FallbackClient:
    return FallbackClient([SONNET], base_url=raw.base_url, api_key=KEY, settings={"catalog": catalog})


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The background does not wait before it begins."""
    monkeypatch.setattr(renewal, "DELAY_SECONDS", 0.0)


def _background() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == renewal.THREAD_NAME]


def _settle() -> None:
    for thread in _background():
        thread.join()


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("surface", SURFACES)
def test_a_call_lets_the_list_be_fetched_once(raw: RawServer, cache: Path, surface: str) -> None:
    client = _client(raw, "always")
    raw.answer(ANSWER)
    raw.listing = LISTING
    for _ in range(3):
        assert ask(client, surface).answer.text == "hi"
        _settle()
    assert [request.line for request in raw.requests].count("GET /api/v1/models") == 1
    assert [model.id for model in client.catalog.models()] == [SONNET]
    assert len(list(cache.iterdir())) == 1


@pytest.mark.usefixtures("at_once", "cache")
@pytest.mark.parametrize("surface", SURFACES)
def test_no_call_waits_for_a_list_that_does_not_come(raw: RawServer, surface: str) -> None:
    gate = raw.gate()
    raw.answer(ANSWER)
    raw.listing = Reply([b'{"data": ', gate, b'[{"id": "late/model"}]}'])
    client = _client(raw, "always")
    for _ in range(3):
        assert ask(client, surface, tools=[{"type": "function", "function": {"name": "f"}}]).answer.text == "hi"
    assert len(_background()) == 1
    assert client.catalog.models() == ()
    gate.open()
    _settle()
    assert [model.id for model in client.catalog.models()] == ["late/model"]


def test_an_import_and_a_client_look_at_no_list() -> None:
    script = """
        import sys, threading
        import openrouter_fallback
        openrouter_fallback.FallbackClient(["a/b"], api_key="sk-or-x").route()
        assert "platformdirs" not in sys.modules
        assert threading.active_count() == 1
    """
    subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(script)], check=True, timeout=60)


@pytest.mark.usefixtures("at_once", "cache")
@pytest.mark.parametrize("catalog", ["auto", "never"])
def test_a_server_on_this_machine_is_asked_for_no_list_nor_one_where_that_is_off(raw: RawServer, catalog: str) -> None:
    raw.answer(ANSWER)
    client = _client(raw, catalog)
    client.chat("hi")
    _settle()
    assert [request.line for request in raw.requests] == ["POST /api/v1/chat/completions"]


URLS = [
    ("https://openrouter.ai/api/v1", False),
    ("http://litellm:4000/v1", False),
    ("http://[fe80::1]/v1", False),
    ("http://127.0.0.1:8000/v1", True),
    ("http://127.8.9.1/v1", True),
    ("http://localhost:11434/v1", True),
    ("http://api.localhost/v1", True),
    ("http://[::1]:8000/v1", True),
    ("http://0.0.0.0:8000/v1", True),
    ("http://LOCALHOST:8000/v1", True),
    ("http://[::ffff:127.0.0.1]:8000/v1", True),
    ("http://127.evil.example/v1", False),
]


@pytest.mark.parametrize(("url", "here"), URLS)
def test_which_servers_are_on_this_machine(url: str, here: bool) -> None:
    assert renewal.on_this_machine(url) is here


@pytest.mark.usefixtures("at_once", "cache")
def test_a_list_that_cannot_be_fetched_is_one_debug_line_and_tried_again_later(
    raw: RawServer, caplog: pytest.LogCaptureFixture
) -> None:
    client = _client(raw, "always")
    raw.answer(ANSWER)
    raw.listing = REFUSED
    with caplog.at_level(logging.DEBUG, logger="openrouter_fallback"):
        for _ in range(3):
            client.chat("hi")
            _settle()
    assert [request.line for request in raw.requests].count("GET /api/v1/models") == 1
    (record,) = [record for record in caplog.records if "list of models" in record.message]
    assert record.levelno == logging.DEBUG
    assert "next try in 60 s" in record.message
    assert KEY not in record.message


@pytest.mark.usefixtures("cache")
def test_the_background_backs_off_and_begins_anew_after_a_success(
    raw: RawServer, caplog: pytest.LogCaptureFixture
) -> None:
    client = _client(raw, "always")
    kept = renewal.Refresh(client.catalog, ["openrouter"])
    with caplog.at_level(logging.DEBUG, logger="openrouter_fallback"):
        for reply in (*[REFUSED] * 8, LISTING):
            raw.answer(reply)
            kept.look()
    waits = [record.message.partition("next try in ")[2].partition(" s")[0] for record in caplog.records]
    assert [float(wait) for wait in waits if wait] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    raw.answer(LISTING)
    kept.look()
    assert raw.requests == []  # it is fresh


def test_a_clients_first_seconds_start_nothing_and_then_it_is_looked_every_ten_minutes(raw: RawServer) -> None:
    looked: list[float] = []

    class Watched(renewal.Refresh):
        def look(self) -> None:
            looked.append(now)

    watched = Watched(_client(raw, "always").catalog, ["openrouter"])
    for now in (100.0, 101.9, 102.0, 102.1, 701.9, 702.0, 5000.0):
        watched.soon(now)
        _settle()
    assert looked == [102.0, 702.0, 5000.0]


@pytest.mark.usefixtures("cache")
def test_a_call_that_could_ask_nobody_for_want_of_prices_waits_for_them(raw: RawServer) -> None:
    raw.answer(ANSWER)
    raw.listing = PRICED
    client = _client(raw, "always")
    assert client.chat("hi").text == "hi"  # needs no prices: nothing is fetched in a client's first seconds
    assert client.chat("hi", max_price=20).text == "hi"


@pytest.mark.usefixtures("cache")
async def test_many_first_calls_wait_for_one_list(raw: RawServer) -> None:
    raw.answer(ANSWER)
    raw.listing = PRICED
    client = _client(raw, "always")
    answers = await asyncio.gather(*(client.achat("hi", max_price=20) for _ in range(8)))
    assert {answer.text for answer in answers} == {"hi"}
    assert [request.line for request in raw.requests].count("GET /api/v1/models") == 1


@pytest.mark.usefixtures("cache")
def test_where_no_list_comes_the_call_says_so_and_the_next_does_not_wait(raw: RawServer) -> None:
    raw.answer(ANSWER)
    raw.listing = REFUSED
    client = _client(raw, "always")
    for _ in range(2):
        with pytest.raises(AllModelsFailedError, match="price is unknown"):
            client.chat("hi", max_price=20)
    assert [request.line for request in raw.requests] == ["GET /api/v1/models"]


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("longest", [renewal.PRICES_SECONDS, 0.1])
def test_a_list_that_does_not_come_holds_a_call_up_for_a_moment_only(
    raw: RawServer, monkeypatch: pytest.MonkeyPatch, longest: float
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(renewal, "PRICES_SECONDS", longest)
    monkeypatch.setattr(renewal.Refresh, "look", lambda _: go_on.wait(20))
    try:
        with pytest.raises(AllModelsFailedError, match="price is unknown"):
            # Half of the time is for the list. The other half passes on a loaded machine, too, if it is short.
            _client(raw, "always").chat("hi", max_price=20, total_timeout=2.0 if longest > 1 else None)
    finally:
        go_on.set()


@pytest.mark.usefixtures("at_once")
def test_where_no_thread_can_be_started_the_call_goes_on(raw: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    kept = renewal.Refresh(_client(raw, "always").catalog, ["openrouter"])
    monkeypatch.setattr("threading.Thread.start", refuse)
    kept.soon(0.0)


@pytest.mark.usefixtures("at_once")
def test_clients_made_by_the_hundred_start_few_threads(raw: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(renewal.Refresh, "look", lambda _: go_on.wait(10))
    catalog = _client(raw, "always").catalog
    try:
        for _ in range(100):
            renewal.Refresh(catalog, ["openrouter"]).soon(0.0)
        assert len(_background()) == renewal.MOST_THREADS
    finally:
        go_on.set()
        _settle()


SCRIPT = """
    import os, sys, threading
    from openrouter_fallback import AllModelsFailedError, FallbackClient
    from openrouter_fallback.catalog import refresh as renewal
    from openrouter_fallback.composition import parts_of
    from openrouter_fallback.endpoints.api import Lists
    client = FallbackClient(["a/b"], base_url=sys.argv[1], api_key="sk-or-x", settings={"catalog": "always"})
"""


def _run(script: str, raw: RawServer) -> str:
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(SCRIPT) + textwrap.dedent(script), raw.base_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.usefixtures("cache")
def test_a_script_that_asks_once_ends_at_once_and_fetches_nothing(raw: RawServer) -> None:
    raw.answer(ANSWER)
    assert _run("print(client.chat('hi').text)", raw) == "hi\n"
    assert [request.line for request in raw.requests] == ["POST /api/v1/chat/completions"]


@pytest.mark.usefixtures("cache")
def test_a_process_ends_in_the_middle_of_a_fetch(raw: RawServer) -> None:
    raw.answer(ANSWER)
    raw.listing = Reply([b'{"data": [', raw.gate()])
    script = """
        renewal.DELAY_SECONDS = 0.0
        begun, fetch = threading.Event(), Lists.__call__
        def noted(lists, endpoint):
            begun.set()
            return fetch(lists, endpoint)
        Lists.__call__ = noted
        print(client.chat("hi").text)
        begun.wait()
    """
    assert _run(script, raw) == "hi\n"


@pytest.mark.usefixtures("cache")
def test_a_forked_child_fetches_by_itself(raw: RawServer) -> None:
    raw.answer(ANSWER)
    raw.listing = LISTING
    script = """
        print(client.chat("hi").text, flush=True)
        if os.fork() == 0:
            parts_of(client).refresh.next_look = 0.0   # the two seconds are over
            print(client.chat("hi").text)
            for thread in threading.enumerate():
                if thread.name == renewal.THREAD_NAME:
                    thread.join()
            print(client.catalog.models()[0].id, flush=True)
            os._exit(0)
        os.wait()
    """
    assert _run(script, raw) == f"hi\nhi\n{SONNET}\n"
