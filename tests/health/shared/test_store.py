"""The Redis store by itself: what is there, what goes wrong, what comes back."""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from openrouter_fallback.health.shared.codec import BadValue, counts_of, heard_of, news_json
from openrouter_fallback.health.shared.protocol import HealthEvent
from openrouter_fallback.health.shared.redis import LONGEST_PAUSE_SECONDS, PASSWORD_ENV, PREFIX
from openrouter_fallback.spending.ledger import Ledger

from ...support.fleet import target
from ...support.redis_server import RedisServer, binaries, free_port
from .stores import PASSWORD, QUOTED, A, Ours, failures, needs_server

# What is there


async def test_everything_has_the_prefix_and_a_time_to_live(server: RedisServer, new: Ours) -> None:
    for url in (server.url, f"{server.url}?prefix=tenant"):
        store = new(url)
        await store.exchange()
        failures(store)
        store.health.rate_limited(A, 1000.0, 5.0)
        await store.exchange()
    found = {key.decode(): server.admin().pttl(key) for key in server.admin().scan_iter()}
    assert {name.split(":counts")[0].split(":news")[0] for name in found} == {PREFIX, "tenant"}
    assert len(found) == 4
    assert all(0 < left <= 3_600_000 for left in found.values()), found


async def test_a_lease_lives_for_two_periods(server: RedisServer, new: Ours) -> None:
    now = [1000.0]
    store = new(server.url, clock=lambda: now[0])
    await store.exchange()
    failures(store)
    await store.exchange()
    now[0] += 9.5
    store.health.standing(A, now[0])
    await store.exchange()
    [lease] = server.admin().keys(f"{PREFIX}:lease:*")
    assert 0 < server.admin().pttl(lease) <= 2000


async def test_prefixes_and_addresses_keep_fleets_apart(server: RedisServer, new: Ours) -> None:
    teller = new(server.url)
    others = [new(f"{server.url}?prefix=other"), new(server.url)]
    others[1].health._idents["openrouter"] = "openrouter@127.0.0.1:1234/api/v1"
    for store in (teller, *others):
        await store.exchange()
    failures(teller)
    for store in (teller, *others):
        await store.exchange()
    assert [str(store.health.standing(A, 1000.0).gate) for store in others] == ["ready"] * 2


async def test_what_was_not_told_is_told_when_redis_is_back(server: RedisServer, new: Ours) -> None:
    teller, hearer = new(server.url), new(server.url)
    await teller.exchange()
    await hearer.exchange()
    server.admin().config_set("requirepass", "x")
    server.admin("x").execute_command("CLIENT", "KILL", "TYPE", "normal")
    failures(teller)
    assert not await teller.exchange()
    server.admin("x").config_set("requirepass", "")
    assert await teller.exchange()
    # Older redis-py notices only by an error that its connection has been closed.
    assert await hearer.exchange() or await hearer.exchange()
    assert str(hearer.health.standing(A, 1000.0).gate) == "left_out"


async def test_another_server_whose_clock_is_behind_is_heard(server: RedisServer, new: Ours) -> None:
    teller, hearer = new(server.url), new(server.url)
    await hearer.exchange()
    assert hearer._last is not None
    hearer._last = b"%d-0" % (server.admin().time()[0] * 1000 + 3_600_000)
    await hearer.exchange()
    await teller.exchange()
    failures(teller)
    await teller.exchange()
    await hearer.exchange()
    assert str(hearer.health.standing(A, 1000.0).gate) == "left_out"


@needs_server
async def test_the_days_spend_is_the_fleets(server: RedisServer, new: Ours) -> None:
    ledgers = [Ledger(per_day=Decimal(1)) for _ in range(3)]
    stores = [new(server.url, till=ledger) for ledger in ledgers]
    for ledger, amount in zip(ledgers, ("0.25", "0.1234567891", "0"), strict=True):
        purse = ledger.purse()
        assert purse.hold(1, Decimal("0.3"))
        purse.settle(1, Decimal(amount))
    for store in (*stores, *stores):
        assert await store.exchange()
    assert [ledger.spend().left for ledger in ledgers] == [
        Decimal("0.626543211"),
        Decimal("0.6265432109"),
        Decimal("0.626543211"),
    ]
    assert not ledgers[2].purse().hold(1, Decimal("0.63"))
    [key] = server.admin().keys(f"{PREFIX}:spent:*")
    server.admin().set(key, "-5")
    for store in stores:
        assert await store.exchange()
    assert ledgers[2].spend().others == 0
    server.admin().set(key, "garbage")
    assert await stores[2].exchange()
    assert ledgers[2].spend().left == 1


# What goes wrong


async def test_one_line_when_it_goes_one_when_it_is_back(new: Ours, caplog: pytest.LogCaptureFixture) -> None:
    if not binaries():
        pytest.skip("no redis-server")
    server = RedisServer(next(iter(binaries().values())))
    store = new(server.url)
    pauses = []
    for _ in range(8):
        assert not await store.exchange()
        pauses.append(store.pause())
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]
    assert max(pauses) <= LONGEST_PAUSE_SECONDS
    with server:
        assert await store.exchange()
        assert store.pause() == 0.9
    assert [record.getMessage() for record in caplog.records] == [
        f"health is not shared, calls go on with this process's own: Redis at 127.0.0.1:{server.port} does not answer"
        " (ConnectionError)",
        f"health is shared again: Redis at 127.0.0.1:{server.port} answers",
    ]


@needs_server
async def test_a_server_that_is_silent_costs_one_deadline(new: Ours, caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer(next(iter(binaries().values()))) as server:
        store = new(server.url, deadline=0.05)
        assert await store.exchange()
        server.pause()
        for _ in range(2):
            assert not await store.exchange()
        server.resume()
    assert [record.getMessage().rpartition("(")[2] for record in caplog.records] == ["TimeoutError)"]


@needs_server
@pytest.mark.parametrize("given", ["in the URL", "in the environment", "wrong", "missing"])
async def test_passwords(
    given: str, new: Ours, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RedisServer(next(iter(binaries().values())), "--requirepass", PASSWORD) as server:
        url = server.url
        if given == "in the environment":
            monkeypatch.setenv(PASSWORD_ENV, PASSWORD)
        elif given != "missing":
            url = url.replace("//", f"//:{QUOTED if given == 'in the URL' else 'hunter2-wrong'}@")
        caplog.set_level(logging.DEBUG)
        store = new(url)
        assert await store.exchange() is (given.startswith("in"))
        assert "hunter2" not in f"{caplog.text}{store!r}{store.address}"
        assert len([record for record in caplog.records if record.name == "openrouter_fallback"]) == (
            0 if given.startswith("in") else 1
        )


async def test_tls_with_a_password(new: Ours, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    openssl, served = shutil.which("openssl"), [one for one in binaries().values() if _speaks_tls(one)]
    if openssl is None or not served:
        pytest.skip("no openssl, or no redis-server that is built with TLS")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = [
        openssl,
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        str(key),
        "-out",
        str(cert),
        *subject,
    ]
    made = await asyncio.create_subprocess_exec(*command, stderr=subprocess.DEVNULL)
    assert await made.wait() == 0
    port = free_port()
    tls = [
        "--tls-port",
        str(port),
        "--tls-cert-file",
        str(cert),
        "--tls-key-file",
        str(key),
        "--tls-auth-clients",
        "no",
    ]
    with RedisServer(served[0], *tls, "--requirepass", PASSWORD):
        trusted = new(f"rediss://:{QUOTED}@127.0.0.1:{port}/0?ssl_ca_certs={cert}")
        assert await trusted.exchange()
        assert not await new(f"rediss://:{QUOTED}@127.0.0.1:{port}/0").exchange(), (
            "a certificate that nobody vouches for"
        )
    assert "hunter2" not in caplog.text


def _speaks_tls(binary: Path) -> bool:
    """A server without TLS does not know the option; one with it asks for a certificate. Both end at once."""
    done = subprocess.run([binary, "--port", "0", "--tls-port", "1"], capture_output=True, text=True, timeout=10)
    return "tls-cert-file" in done.stdout


@needs_server
async def test_tls_to_a_server_that_has_none_is_one_more_way_to_fail(
    server: RedisServer, new: Ours, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openrouter_fallback.health.shared.redis.CONNECT_SECONDS", 0.1)
    store = new(server.url.replace("redis://", f"rediss://:{QUOTED}@"), deadline=0.5)
    assert not await store.exchange()
    assert "hunter2" not in caplog.text


@needs_server
async def test_poison_is_ignored_with_one_warning(
    server: RedisServer, new: Ours, caplog: pytest.LogCaptureFixture
) -> None:
    teller, hearer = new(server.url), new(server.url)
    await teller.exchange()
    admin = server.admin()
    entry = news_json([HealthEvent("opened", "model|openrouter@openrouter.ai/api/v1|b", 9.0)], "someone").replace(
        b"9.0", b"-9"
    )
    for fields in ({"n": b"[]"}, {"n": b"\xff"}, {"x": b"y"}, {"n": entry}, {"n": b'{"by":1,"news":[[1]]}'}):
        admin.xadd(f"{PREFIX}:news", fields)
    failures(teller)
    await teller.exchange()
    for _ in range(2):
        admin.hset(admin.keys(f"{PREFIX}:counts:*")[0], mapping={"+model|x": "many"})
        assert await hearer.exchange()
    assert str(hearer.health.standing(A, 1000.0).gate) == "left_out", "what is good among it is heard"
    assert str(hearer.health.standing(target("b"), 1000.0).gate) == "ready"
    said = [record.getMessage() for record in caplog.records]
    assert ["are not this library's and are ignored" in line for line in said] == [True] * 2, "one in each process"


@needs_server
async def test_an_entry_from_the_future_does_not_deafen(
    server: RedisServer, new: Ours, caplog: pytest.LogCaptureFixture
) -> None:
    hearer = new(server.url)
    await hearer.exchange()
    server.admin().xadd(f"{PREFIX}:news", {"n": b"x"}, id=f"{2**62}-1")
    assert await hearer.exchange()
    server.admin().delete(f"{PREFIX}:news")
    teller = new(server.url)
    await teller.exchange()
    failures(teller)
    await teller.exchange()
    await hearer.exchange()
    assert str(hearer.health.standing(A, 1000.0).gate) == "left_out"


@needs_server
@pytest.mark.parametrize("teller_first", [False, True])
async def test_an_entry_from_the_future_does_not_spoil_what_is_told_after_it(
    teller_first: bool, server: RedisServer, new: Ours
) -> None:
    """New entries would get stamps after its own, and nothing would be heard until the server's clock is there."""
    stores = teller, hearer = [new(server.url) for _ in range(2)]
    for store in stores:
        await store.exchange()
    ahead = (server.admin().time()[0] + 3600) * 1000
    server.admin().xadd(f"{PREFIX}:news", {"n": b"x"}, id=f"{ahead}-1")
    await hearer.exchange()
    failures(teller)
    for _ in range(3):
        for store in stores if teller_first else reversed(stores):
            assert await store.exchange()
    assert str(hearer.health.standing(A, 1000.0).gate) == "left_out"


@needs_server
@pytest.mark.parametrize("ahead", [0.5, 40.0])
async def test_what_is_ahead_of_the_clock_is_heard_once_at_most(ahead: float, server: RedisServer, new: Ours) -> None:
    """A breaker would stay open for as long as the same entry is read again."""
    now = [1000.0]
    store = new(server.url, clock=lambda: now[0])
    await store.exchange()
    store.health.snapshot(A, now[0])
    opened = HealthEvent("opened", store.health._scope(A.endpoint, A.model), 10.0)
    seconds, micros = server.admin().time()
    stamp = int((seconds + ahead) * 1000) + micros // 1000
    server.admin().xadd(f"{PREFIX}:news", {"n": news_json([opened], "another")}, id=f"{stamp}-1")
    for _ in range(6):
        await store.exchange()
        now[0] += 1.0
    assert (store.health.snapshot(A, now[0]).seconds_left or 0.0) <= 4.5


@needs_server
async def test_a_sum_that_nobody_has_spent_stops_no_calls(
    server: RedisServer, new: Ours, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(per_day=Decimal(10))
    store = new(server.url, till=ledger)
    await store.exchange()
    [key] = server.admin().keys(f"{PREFIX}:spent:*")
    server.admin().set(key, 10**17)
    assert await store.exchange()
    assert ledger.spend().left == 10
    assert "a sum that nobody has spent" in caplog.text


BAD_NEWS: list[Any] = [
    b"",
    b"null",
    b'{"by":"x"}',
    b'{"by":"x","news":[["opened","model|a",1,1,1,"why","more"]]}',
    b'{"by":"x","news":[["exploded","model|a",1,1,1,"why"]]}',
    b'{"by":"x","news":[["opened","cooling|a",1,1,1,"why"]]}',
    b'{"by":"x","news":[["opened","model|a","1",1,1,"why"]]}',
    b'{"by":"x","news":[["opened","model|a",true,1,1,"why"]]}',
    b'{"by":"x","news":[["opened","model|a",-1,1,1,"why"]]}',
    b'{"by":"x","news":[["opened","model|a",1,1e999,1,"why"]]}',
    b'{"by":"x","news":[["opened","model|a",1,1,1.5,"why"]]}',
    b'{"by":"x","news":[["opened","model|a",1,1,1,7]]}',
    b'{"by":"x","news":[["opened","' + b"m" * 600 + b'",1,1,1,"why"]]}',
    b"[" * 100_000,
    7,
    None,
]


@pytest.mark.parametrize("text", BAD_NEWS, ids=repr)
def test_bad_news(text: Any) -> None:
    with pytest.raises(BadValue):
        heard_of({b"n": text}, 0.0)


def test_values_come_back_as_they_were_told_within_bounds() -> None:
    told = [HealthEvent("opened", "model|x|a", 1e12, 0.5, 3, "overloaded"), HealthEvent("no_auth", "no_auth|x#1", 60.0)]
    by, heard = heard_of({b"n": news_json(told, "me")}, 7.0)
    assert by == "me"
    assert [one.at for one in heard] == [7.0, 7.0]
    assert [one.news for one in heard] == [
        HealthEvent("opened", "model|x|a", 7 * 86_400.0, 0.5, 3, "overloaded"),
        told[1],
    ]
    assert counts_of({b"+model|a": b"3", b"-model|a": b"-1", b"x": b"1"})[0] == {"model|a": (3, -1)}
