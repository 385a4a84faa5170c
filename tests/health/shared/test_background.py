"""The Redis store in the background: its process, forks, the loop of exchanges; and what is said of it."""

from __future__ import annotations

import asyncio
import gc
import pickle
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from openrouter_fallback import ConfigError, FallbackClient, FallbackConfig, Settings, load_config
from openrouter_fallback.call.portal import SyncBridge
from openrouter_fallback.composition import parts_of
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.health import Availability, Rules, SharedHealth
from openrouter_fallback.health.shared.breaker import UNEASY_SECONDS
from openrouter_fallback.health.shared.fleet import SOON_SECONDS

from ...support.fleet import PLACES
from ...support.redis_server import RedisServer, binaries, free_port
from ...support.surfaces import SURFACES, ask
from .stores import MODEL, QUOTED, A, Ours, failures, needs_server


def ends(script: str, *arguments: str) -> tuple[str, str, int]:
    """What a process of its own prints, complains of and ends with."""
    python = [sys.executable, "-W", "error", "-W", "ignore:.*fork:DeprecationWarning"]
    done = subprocess.run([*python, "-c", script, *arguments], capture_output=True, text=True, timeout=60)
    return done.stdout, done.stderr, done.returncode


@needs_server
def test_a_child_forked_during_an_exchange_begins_its_own() -> None:
    """The lock of that exchange is never released in the child."""
    script = """
import asyncio, os, sys, threading
from openrouter_fallback import FallbackClient
from openrouter_fallback.composition import parts_of
url = sys.argv[1]
client = FallbackClient(["openai/gpt-5.1"], api_key="sk-or-v1-emulator", settings={"health_store": url})
client.health(refresh=True)
store = parts_of(client).store
inside, go = threading.Event(), threading.Event()
told = store.health.collect
def tell(*now):
    inside.set()
    go.wait()
    return told(*now)
store.health.collect = tell
waiting = threading.Thread(target=client.health, kwargs={"refresh": True})
waiting.start()
inside.wait()
child = os.fork()
if not child:
    store.health.collect = told
    client.health(refresh=True)
    client.close()
    os._exit(0)
_, status = os.waitpid(child, 0)
go.set()
waiting.join()
client.health(refresh=True)
client.close()
print(status)
"""
    with RedisServer(next(iter(binaries().values()))) as server:
        assert ends(script, server.url) == ("0\n", "", 0)


@needs_server
def test_a_call_at_the_very_end_of_the_process_goes_on_without(server: RedisServer) -> None:
    script = """
import asyncio, atexit, sys
@atexit.register
def last():
    print(asyncio.run(client.achat("Hello")).text)
from openrouter_fallback import FallbackClient
base, url = sys.argv[1:]
client = FallbackClient(["openai/gpt-5.1"], base_url=base, api_key="sk-or-v1-emulator",
                        settings={"health_store": url})
client.chat("Hello")
"""
    with Emulator(api_key="sk-or-v1-emulator") as emulator:
        emulator.reply(text="Good bye", model=MODEL)
        assert ends(script, emulator.base_url, server.url) == ("Good bye\n", "", 0)


@needs_server
def test_a_client_exchanges_by_itself_and_ends_with_its_process(server: RedisServer) -> None:
    """No warning, nothing that holds the process; the first call begins it, a fork begins its own."""
    script = """
import asyncio, os, sys
from openrouter_fallback import FallbackClient
from openrouter_fallback.composition import parts_of
base, url = sys.argv[1:]
client = FallbackClient(["openai/gpt-5.1"], base_url=base, api_key="sk-or-v1-emulator",
                        settings={"health_store": url})
client.chat("Hello")
asyncio.run(client.achat("Hello"))
client.health(refresh=True)
child = os.fork()
if not child:
    client.chat("Hello")
    client.health(refresh=True)
    sys.stdout.flush()
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
seen = client.health(refresh=True)["openai/gpt-5.1"]
print(seen.successes)
"""
    with Emulator(api_key="sk-or-v1-emulator") as emulator:
        assert ends(script, emulator.base_url, server.url) == ("3\n", "", 0)


@needs_server
def test_the_connection_of_the_last_exchange_is_closed_at_the_end_of_the_process(server: RedisServer) -> None:
    """Also one that `health(refresh=True)` has made, since the exchange in the background had found no server."""
    script = """
import logging, sys
from contextlib import suppress
from pydantic import SecretStr
from openrouter_fallback import FallbackClient
from openrouter_fallback.composition import parts_of
logging.disable()
base, url, nothing = sys.argv[1:]
client = FallbackClient(["openai/gpt-5.1"], base_url=base, api_key="sk-or-v1-emulator",
                        settings={"health_store": nothing})
client.chat("Hello")
with suppress(ConnectionError):
    client.health(refresh=True)
store = parts_of(client).store
store.url = SecretStr(url)
print(client.health(refresh=True)["openai/gpt-5.1"].successes, store._redis is not None)
"""
    with Emulator(api_key="sk-or-v1-emulator") as emulator:
        nothing = f"redis://127.0.0.1:{free_port()}"
        assert ends(script, emulator.base_url, server.url, nothing) == ("1 True\n", "", 0)


@needs_server
def test_children_of_a_client_that_was_not_used_yet_are_processes_of_their_own(server: RedisServer) -> None:
    """As the workers of a server: made once, then forked."""
    script = """
import os, sys
from openrouter_fallback import FallbackClient
base, url = sys.argv[1:]
client = FallbackClient(["openai/gpt-5.1"], base_url=base, api_key="sk-or-v1-emulator",
                        settings={"health_store": url})
for _ in range(2):
    child = os.fork()
    if not child:
        client.chat("Hello")
        client.health(refresh=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0, status
client.health(refresh=True)
print(client.spend().today, client.spend().others)
client.close()
"""
    with Emulator(api_key="sk-or-v1-emulator") as emulator:
        out, errors, status = ends(script, emulator.base_url, server.url)
        assert (errors, status) == ("", 0)
        here, others = out.split()
        assert here == "0"
        assert Decimal(others) == emulator.spent > 0


@needs_server
def test_ticking_begins_with_the_first_call_and_ends_with_the_client(server: RedisServer) -> None:
    with Emulator(api_key="sk-or-v1-emulator") as emulator, server.admin().monitor() as seen:
        client = FallbackClient(
            [MODEL], base_url=emulator.base_url, api_key="sk-or-v1-emulator", settings={"health_store": server.url}
        )
        client.chat("Hello")
        commands: Iterator[Any] = seen.listen()
        assert any(one["command"].startswith("HINCRBY") for one in commands), "told without being asked to"
        client.close()
        client.chat("Hello")
        assert any(one["command"].startswith("HINCRBY") for one in commands), "it can still be used"
        gone = threading.Event()
        weakref.finalize(parts_of(client).store, gone.set)
        del client
        gc.collect()
        assert gone.wait(10), "as soon as the exchange under way is over"


@needs_server
@pytest.mark.parametrize("surface", SURFACES)
def test_the_call_that_would_probe_has_the_lease(
    surface: str, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the thread that has the connection, from whatever loop the call runs in."""
    monkeypatch.setattr("openrouter_fallback.health.shared.redis.ASK_SECONDS", 10.0)
    ahead = [0.0]
    with Emulator() as emulator:
        client = FallbackClient(
            [MODEL, "openai/gpt-5-mini"],
            base_url=emulator.base_url,
            api_key=emulator.api_key,
            settings={"health_store": server.url},
        )
        parts = parts_of(client)
        parts.runtime.clock = parts.store.clock = lambda: time.monotonic() + ahead[0]  # type: ignore[union-attr]
        client.health(refresh=True)
        outage = emulator.fault("overloaded", model=MODEL)
        for _ in range(3):
            assert ask(client, surface).answer.attempts[-1].model != MODEL
        outage.clear()
        ahead[0] += 10.0
        client.health(refresh=True)
        assert any(attempt.probe for attempt in ask(client, surface).answer.attempts)
        SyncBridge(parts_of(client).events).run(parts_of(client).runtime.background.done)
        ask(client, surface)  # a loop that has ended with its call has ended the probe: this one goes alone
        [lease] = server.admin().keys("*:lease:*")
        assert server.admin().get(lease) == parts_of(client).store.sync.name.encode()  # type: ignore[union-attr]
        assert client.health()[MODEL].state == "closed"
        client.close()


async def test_the_loop_of_exchanges_is_paced_and_ends_when_it_is_told_to(new: Ours) -> None:
    naps: list[float] = []

    async def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            store.stop()

    store = new(f"redis://127.0.0.1:{free_port()}/0", sleep=sleep)
    store.touch()
    store.touch()
    [work] = new.spawned
    await work()
    assert naps == [0.5, 1.0, 2.0]
    store.touch()
    assert len(new.spawned) == 2


async def test_a_loop_that_ends_first_is_followed_by_another(new: Ours) -> None:
    asleep = asyncio.Event()

    async def forever(seconds: float) -> None:
        asleep.set()
        await asyncio.get_running_loop().create_future()

    store = new(f"redis://127.0.0.1:{free_port()}/0", sleep=forever)
    store.touch()
    task = asyncio.create_task(new.spawned[0]())
    await asleep.wait()
    task.cancel()
    await asyncio.wait([task])
    store.touch()
    assert len(new.spawned) == 2


@needs_server
async def test_a_failing_model_is_told_of_and_asked_about_at_once(server: RedisServer, new: Ours) -> None:
    """Beside the exchanges of every second, as long as the model fails; never more than one at a time."""
    naps: list[float] = []

    async def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 4:
            now[0] += UNEASY_SECONDS + 1.0  # the failure is of long ago

    now = [1000.0]
    store, other = (new(server.url, sleep=sleep, clock=lambda: now[0]) for _ in range(2))
    failures(store, 1)
    assert not new.spawned, "before the first call nothing is exchanged"
    store.touch()
    failures(store, 1)
    _, soon = new.spawned
    await soon()
    assert naps == [SOON_SECONDS] * 4
    await other.exchange()
    assert other.health.snapshot(A, 1000.0).failures == 2
    failures(store, 1)
    assert len(new.spawned) == 3
    await new.spawned[2]()
    await other.exchange()
    assert other.health.status_of(A, 1000.0).availability is Availability.CIRCUIT_OPEN
    assert len(naps) == 5, "all has been told"


async def test_where_redis_does_not_answer_nothing_is_hurried(new: Ours) -> None:
    async def sleep(seconds: float) -> None:
        pass

    store = new(f"redis://127.0.0.1:{free_port()}/0", sleep=sleep)
    store.touch()
    failures(store, 1)
    await new.spawned[1]()
    failures(store, 1)
    assert len(new.spawned) == 2


# What is said of it


def test_a_missing_extra_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    monkeypatch.delitem(sys.modules, "openrouter_fallback.health.shared.redis", raising=False)
    with pytest.raises(ConfigError, match=r'pip install "openrouter-fallback\[redis\]"'):
        FallbackClient([MODEL], settings={"health_store": "redis://host"})


def test_options_that_redis_py_does_not_know_are_told_of_without_the_url() -> None:
    with pytest.raises(ConfigError, match="health_store") as told:
        FallbackClient([MODEL], settings={"health_store": f"redis://:{QUOTED}@host/0?db=many"})
    assert "hunter2" not in str(told.value)


def test_the_password_is_in_no_repr_error_or_pickle(tmp_path: Path) -> None:
    url = f"redis://user:{QUOTED}@host:6380/1"
    config = FallbackConfig(default_chain=[MODEL], settings={"health_store": url})
    again: Settings = pickle.loads(pickle.dumps(config)).settings
    client = FallbackClient(config=config)
    store = parts_of(client).store
    said = f"{config!r}{config.settings}{client!r}{store!r}{pickle.dumps(config)!r}{config.model_dump_json()}"
    assert "hunter2" not in said
    assert not isinstance(again.health_store, str)
    assert again.health_store.get_secret_value() == "redis://user@host:6380/1"
    path = tmp_path / "fallback.yaml"
    path.write_text(
        f"fallback:\n  default_chain: [{MODEL}]\n  settings: {{health_store: 'redis://:{QUOTED}@host:x'}}\n"
    )
    with pytest.raises(ConfigError) as told:
        load_config(path)
    assert "hunter2" not in str(told.value)


def test_health_says_so_if_the_store_does_not_answer() -> None:
    client = FallbackClient(
        [MODEL], api_key="sk-or-v1-x", settings={"health_store": f"redis://127.0.0.1:{free_port()}"}
    )
    with pytest.raises(ConnectionError, match="health store"):
        client.health(refresh=True)
    assert client.health()[MODEL].state == "closed"
    client.close()


def test_after_a_fork_what_the_parent_counted_is_not_told_again() -> None:
    health = SharedHealth(Rules(), lambda: 0.0, PLACES)
    permit = health.begin(A, 1000.0)
    assert permit is not None
    health.success(permit, 1000.0)
    assert health.collect(1000.0, 2000.0).counts
    health.after_fork()
    assert not health.collect(1000.0, 2000.0).counts
