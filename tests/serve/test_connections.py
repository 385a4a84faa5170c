"""Connections: who leaves behind a pipelined request, what comes behind a last request, and too few open files."""

from __future__ import annotations

import json
import logging
import resource
import socket
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest

from openrouter_fallback import FallbackClient
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.serve import Bounds
from openrouter_fallback.serve.files import fitted

from ..support.serving import CALL, PACE, Served, post, process


def asking(*headers: str, **changes: Any) -> bytes:
    body = json.dumps({**CALL, **changes}).encode()
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_who_leaves_behind_a_pipelined_request_ends_the_request_upstream(
    server: Served, client: FallbackClient, emulator: Emulator, stream: bool
) -> None:
    emulator.fault("silence")
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(asking(stream=stream))
        emulator.wait_for(len)
        connection.sendall(asking())
    emulator.wait_for(lambda log: log[-1].ended == "gone")
    assert emulator.count() == 1


def test_pipelined_requests_are_answered_in_order(server: Served, client: FallbackClient, emulator: Emulator) -> None:
    emulator.pace(token_interval=PACE)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(asking(stream=True))
        emulator.wait_for(len)
        for part in (asking(user="second"), asking("Connection: close", user="third")):
            connection.sendall(part)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.count(b"HTTP/1.1 200 ") == 3
    assert [request.body.get("user") for request in emulator.log] == [None, "second", "third"]
    assert answer.index(b"data: [DONE]") < answer.rindex(b"HTTP/1.1 200 ")


def test_what_comes_behind_the_last_request_does_not_break_its_answer(
    server: Served, client: FallbackClient, emulator: Emulator
) -> None:
    """Old clients write a line break behind a body."""
    emulator.pace(token_interval=PACE)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(asking("Connection: close", stream=True))
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"data: [DONE]" in answer


LIMITS = [
    ("enough", (20_000, 20_000), None, (1000, 4000)),
    ("none", (resource.RLIM_INFINITY, resource.RLIM_INFINITY), None, (1000, 4000)),
    ("more to be had", (1024, 524_288), 8064, (1000, 4000)),
    ("no hard limit", (256, resource.RLIM_INFINITY), 8064, (1000, 4000)),
    ("some more to be had", (256, 1064), 1064, (250, 500)),
    ("no more to be had", (464, 464), 464, (100, 200)),
]


@pytest.mark.parametrize(("limit", "raised", "found"), [row[1:] for row in LIMITS], ids=[row[0] for row in LIMITS])
def test_the_bounds_fit_the_limit_of_open_files(
    limit: tuple[int, int],
    raised: int | None,
    found: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    was_set: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: limit)
    monkeypatch.setattr(resource, "setrlimit", lambda which, now: was_set.append(now))
    with caplog.at_level(logging.WARNING):
        bounds = fitted(Bounds())
    assert (bounds.calls, bounds.connections) == found
    assert was_set == ([] if raised is None or raised == limit[0] else [(raised, limit[1])])
    assert ("ulimit" in caplog.text) == (found != (1000, 4000))


def test_more_clients_than_files_are_closed_and_the_next_one_is_answered(emulator: Emulator) -> None:
    few = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))"
    with process(emulator, before=few) as (child, url), ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(socket.create_connection(("127.0.0.1", httpx2.URL(url).port or 0), timeout=10))
        stack.close()
        assert post(url).status_code == 200
        child.terminate()
        _, err = child.communicate(timeout=15)
    assert "out of system resource" not in err
