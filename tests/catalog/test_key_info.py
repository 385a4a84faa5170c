"""What OpenRouter says of the key, and what is raised where it says nothing."""

from __future__ import annotations

import pytest

from openrouter_fallback import AuthenticationError, CatalogError, FallbackClient, FallbackError
from openrouter_fallback.emulator import Emulator

from ..support.rawserver import RawServer, Reply

KEY = "sk-or-v1-0123456789abcdef0123456789abcdef"


async def test_what_is_said_of_a_good_key() -> None:
    with Emulator(api_key=KEY) as emulator:
        async with FallbackClient(["a/a"], base_url=emulator.base_url, api_key=KEY) as client:
            said = await client.key_info()
    assert said["limit_remaining"] is None
    assert said["is_free_tier"] is False
    assert emulator.count() == 0


async def test_a_function_may_give_the_key() -> None:
    async def key() -> str:
        return KEY

    with Emulator(api_key=KEY) as emulator:
        async with FallbackClient(["a/a"], base_url=emulator.base_url, api_key=key) as client:
            assert (await client.key_info())["usage"] == 0


ANSWERS: list[tuple[str, Reply | None, type[FallbackError], str]] = [
    ("wrong key", Reply([b'{"error": {"code": 401, "message": "User not found."}}'], 401), AuthenticationError, "401"),
    ("failing", Reply([b"oops"], 500), CatalogError, "GET /key failed: 500"),
    ("no JSON", Reply([b"<html>"]), CatalogError, "says nothing of a key; check base_url"),
    ("no data", Reply([b'{"data": []}']), CatalogError, "says nothing of a key; check base_url"),
    ("cut off", Reply([b'{"data"'], ending="reset"), CatalogError, "GET /key failed: "),
]


@pytest.mark.parametrize(("reply", "error", "said"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
async def test_where_nothing_is_said_of_the_key(reply: Reply, error: type[FallbackError], said: str) -> None:
    with RawServer(listing=reply) as server:
        async with FallbackClient(["a/a"], base_url=server.base_url, api_key=KEY) as client:
            with pytest.raises(error) as raised:
                await client.key_info()
    assert said in str(raised.value)
    assert KEY not in str(raised.value)
    assert [request.line for request in server.requests] == ["GET /api/v1/key"]


async def test_a_refused_key_is_told_with_how_a_key_looks_and_where_this_one_came_from() -> None:
    with RawServer(listing=Reply([b"{}"], 401)) as server:
        async with FallbackClient(["a/a"], base_url=server.base_url, api_key=KEY) as client:
            with pytest.raises(AuthenticationError) as raised:
                await client.key_info()
    (note,) = raised.value.__notes__
    assert note.startswith("An OpenRouter key starts with sk-or- and is made at https://openrouter.ai/settings/keys.")
    assert "came from api_key=" in note
    assert KEY not in note


async def test_without_a_key_nobody_is_asked() -> None:
    with RawServer() as server:
        async with FallbackClient(["a/a"], base_url=server.base_url) as client:
            with pytest.raises(AuthenticationError, match="OPENROUTER_API_KEY is not set"):
                await client.key_info()
    assert server.requests == []
