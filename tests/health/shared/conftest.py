"""A Redis server of each kind that is here, and stores that are closed in the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from ...support.redis_server import RedisServer, binaries
from .stores import Ours


@pytest.fixture(scope="module", params=binaries().items(), ids=lambda item: item[0])
def running(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with RedisServer(request.param[1]) as server:
        yield server


@pytest.fixture
def server(running: RedisServer) -> RedisServer:
    running.admin().flushall()
    return running


@pytest.fixture
async def new() -> AsyncIterator[Ours]:
    ours = Ours()
    yield ours
    for store in ours.stores:
        await store.aclose()
