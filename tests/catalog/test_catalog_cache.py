"""Lists of models that are kept for the next process."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from openrouter_fallback import CatalogError, FallbackClient

from ..support.catalogs import ENTRY, INFO, KEY, LLAMA, SONNET, client_of, listing
from ..support.rawserver import RawServer, Reply


def kept(raw: RawServer) -> FallbackClient:
    """A client that has fetched the list, and so has kept it."""
    raw.answer(listing(ENTRY, LLAMA))
    client = client_of(raw, "always")
    asyncio.run(client.catalog.refresh())
    return client


def test_a_list_is_kept_for_the_next_process_and_serves_although_nobody_answers(raw: RawServer, cache: Path) -> None:
    first = kept(raw).catalog
    raw.answer(Reply([], ending="reset"))
    second = client_of(raw, "always").catalog
    assert (second.get(SONNET), second.models(), second.fetched()) == (INFO, first.models(), first.fetched())
    assert raw.requests == []
    with pytest.raises(CatalogError):
        asyncio.run(second.refresh())
    assert second.get(SONNET) == INFO
    (file,) = cache.iterdir()
    assert KEY not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


def test_a_server_on_this_machine_is_not_kept_unless_asked_for(raw: RawServer, cache: Path) -> None:
    raw.answer(listing(ENTRY))
    client = client_of(raw)
    asyncio.run(client.catalog.refresh())
    assert client.catalog.get(SONNET) == INFO
    assert not cache.exists()


def changed_by(**changes: object) -> Callable[[Path], object]:
    return lambda file: file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def _replaced_by_a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


BROKEN: list[tuple[str, Callable[[Path], object]]] = [
    ("empty", lambda file: file.write_bytes(b"")),
    ("truncated", lambda file: file.write_bytes(file.read_bytes()[:-10])),
    ("half-written", lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])),
    ("zeros", lambda file: file.write_bytes(bytes(file.stat().st_size))),
    ("no text", lambda file: file.write_bytes(os.urandom(400))),
    ("no json", lambda file: file.write_text("models: [a, b]")),
    ("a list", lambda file: file.write_text("[1, 2]")),
    ("nested without end", lambda file: file.write_text("[" * 100_000)),
    ("another format", changed_by(format=2)),
    ("of another url", changed_by(url="https://openrouter.ai/api/v1")),
    ("without a date", changed_by(fetched=None)),
    ("with a date that is none", changed_by(fetched="yesterday")),
    ("without models", changed_by(models=[])),
    ("with models that are none", changed_by(models=[1, {"id": 5}])),
    ("with models as an object", changed_by(models={"id": SONNET})),
    ("a pipe that nobody fills", _replaced_by_a_pipe),
]


@pytest.mark.parametrize("breaks", [row[1] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_file_that_is_not_whole_or_not_ours_is_ignored_and_replaced(
    raw: RawServer, cache: Path, breaks: Callable[[Path], object]
) -> None:
    kept(raw)
    (file,) = cache.iterdir()
    breaks(file)
    catalog = client_of(raw, "always").catalog
    assert (catalog.models(), catalog.fetched()) == ((), None)
    asyncio.run(catalog.refresh())
    assert list(cache.iterdir()) == [file]
    assert client_of(raw, "always").catalog.get(SONNET) == INFO


def test_where_nothing_can_be_kept_it_is_known_all_the_same(raw: RawServer, cache: Path) -> None:
    cache.write_text("a file where the directory should be")
    client = kept(raw)
    assert client.catalog.get(SONNET) == INFO
    assert not client.catalog.stale("openrouter")


def test_without_a_home_directory_nothing_is_kept_and_nothing_fails(
    raw: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/dev/null")
    assert kept(raw).catalog.get(SONNET) == INFO


def test_two_processes_that_write_at_once_leave_a_whole_file(cache: Path) -> None:
    url = "https://openrouter.ai/api/v1"
    writer = """
        import json, sys, time
        from openrouter_fallback.catalog import cache as _shelf
        name = sys.argv[1]
        entries = [{"id": f"{name}/{n}", "name": name * 50} for n in range(400)]
        for _ in range(150):
            _shelf.save(sys.argv[2], entries, time.time())
    """
    command = [sys.executable, "-c", textwrap.dedent(writer)]
    processes = [subprocess.Popen([*command, name, url]) for name in ("one", "other")]
    seen = set()
    while any(process.poll() is None for process in processes):
        catalog = FallbackClient([SONNET], api_key=KEY).catalog
        if models := catalog.models():
            assert len(models) == 400
            assert len({model.id.partition("/")[0] for model in models}) == 1
            seen.add(models[0].id)
    assert [process.returncode for process in processes] == [0, 0]
    assert seen
    assert [file.suffix for file in cache.iterdir()] == [".json"]


def test_an_old_list_serves_until_there_is_a_new_one(raw: RawServer, cache: Path) -> None:
    kept(raw)
    (file,) = cache.iterdir()
    long_ago = datetime.now(UTC) - timedelta(days=400)
    changed_by(fetched=long_ago.timestamp())(file)
    catalog = client_of(raw, "always").catalog
    assert (catalog.get(SONNET), catalog.fetched()) == (INFO, long_ago)
    assert catalog.stale("openrouter")


def test_what_another_process_has_fetched_is_not_fetched_again(raw: RawServer, cache: Path) -> None:
    catalog = client_of(raw, "always").catalog
    assert catalog.stale("openrouter")
    kept(raw)
    assert not catalog.stale("openrouter")
    assert catalog.get(SONNET) == INFO


def test_a_list_from_the_future_is_old(raw: RawServer, cache: Path) -> None:
    kept(raw)
    (file,) = cache.iterdir()
    changed_by(fetched=(datetime.now(UTC) + timedelta(days=3)).timestamp())(file)
    assert client_of(raw, "always").catalog.stale("openrouter")
