"""`stick_to`: a session or a thread stays for a while with the model that it failed over to."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from openrouter_fallback import ConfigError, FailureKind, FallbackClient
from openrouter_fallback.composition import parts_of
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.results import Attempt
from openrouter_fallback.routes.sticking import MOST_SESSIONS, Stay, Sticking, is_failover

from ..cases.matrix import FIRST, SECOND
from ..support.clients import client_for
from ..support.surfaces import SURFACES, ask

Now = list[float]


@pytest.fixture
def now() -> Now:
    return [1000.0]


@pytest.fixture
def sticky(emulator: Emulator, now: Now) -> Callable[..., FallbackClient]:
    """Makes a client whose clock a test puts forward."""

    def make(stick_to: str | None = "session", **settings: Any) -> FallbackClient:
        client = client_for(emulator.base_url, stick_to=stick_to, min_samples=100, **settings)
        parts_of(client).runtime.clock = lambda: time.monotonic() + now[0]
        return client

    return make


def _fail_over(emulator: Emulator, client: FallbackClient, surface: str = "chat", **params: Any) -> None:
    fault = emulator.fault("provider_overloaded", model=FIRST)
    assert ask(client, surface, **params).answer.attempts[-1].model == SECOND
    fault.clear()


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(("stick_to", "word"), [("session", "session_id"), ("thread", "thread_id")])
def test_it_stays_for_its_seconds_from_the_failover(
    emulator: Emulator, sticky: Callable[..., FallbackClient], now: Now, surface: str, stick_to: str, word: str
) -> None:
    client = sticky(stick_to, stick_seconds=60_000)
    params: Any = {word: "mine"}
    _fail_over(emulator, client, surface, **params)
    assert client.route(**params).candidates == (SECOND, FIRST)
    (note,) = client.route(**params).notes
    assert re.fullmatch(rf"{SECOND} goes first: this {stick_to} failed over to it, for (60000|599\d\d) s more", note)
    now[0] += 30_000.0
    assert [one.model for one in ask(client, surface, **params).answer.attempts] == [SECOND]
    (note,) = client.route(**params).notes
    assert re.search(r"for (30000|299\d\d) s more", note)
    assert ask(client, surface, **{word: "another"}).answer.attempts[0].model == FIRST
    assert ask(client, surface).answer.attempts[0].model == FIRST
    now[0] += 30_000.0
    assert client.route(**params).notes == ()
    assert ask(client, surface, **params).answer.attempts[0].model == FIRST


def test_a_session_goes_on_the_wire_as_it_did_and_a_thread_does_not(
    emulator: Emulator, sticky: Callable[..., FallbackClient]
) -> None:
    sticky("thread").chat("Hi", session_id="mine", thread_id="yours")
    body = emulator.log[-1].body
    assert body["session_id"] == "mine"
    assert "thread_id" not in body
    with pytest.raises(ConfigError, match="thread_id is a int; it must be a string"):
        sticky("thread").chat("Hi", thread_id=1)  # type: ignore[arg-type]


def test_it_is_opt_in(emulator: Emulator, sticky: Callable[..., FallbackClient]) -> None:
    client = sticky(None)
    _fail_over(emulator, client, session_id="mine", thread_id="mine")
    assert client.route(session_id="mine", thread_id="mine").candidates == (FIRST, SECOND)


def test_the_next_failover_begins_another_stay(
    emulator: Emulator, sticky: Callable[..., FallbackClient], now: Now
) -> None:
    client = sticky(stick_seconds=60_000)
    _fail_over(emulator, client, session_id="mine")
    now[0] += 50_000.0
    fault = emulator.fault("provider_overloaded", model=SECOND)
    assert client.chat("Hi", session_id="mine").attempts[-1].model == FIRST
    fault.clear()
    assert client.route(session_id="mine").notes == ()
    assert client.route(session_id="mine").candidates == (FIRST, SECOND)
    now[0] += 50_000.0
    stay = parts_of(client).runtime.sticking.stay("mine", parts_of(client).runtime.clock())
    assert stay is not None
    assert stay.model == FIRST


@pytest.mark.parametrize("why", ["disabled", "not in this chain"])
def test_only_the_order_changes(emulator: Emulator, sticky: Callable[..., FallbackClient], why: str) -> None:
    client = sticky()
    _fail_over(emulator, client, session_id="mine")
    more: dict[str, Any] = {}
    if why == "disabled":
        client.disable(SECOND)
    else:
        more = {"models": [FIRST]}
    assert client.route(session_id="mine", **more).candidates == (FIRST,)
    assert client.route(session_id="mine", **more).notes == ()


def test_a_tool_loop_goes_before_its_session(emulator: Emulator, sticky: Callable[..., FallbackClient]) -> None:
    client = sticky()
    _fail_over(emulator, client, session_id="mine")
    call = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    loop: Any = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [call], "model": FIRST},
        {"role": "tool", "tool_call_id": "call_1", "content": "1"},
    ]
    assert client.route(messages=loop, session_id="mine").candidates == (FIRST, SECOND)


def test_sessions_are_forgotten_at_last() -> None:
    sticking = Sticking(60.0)
    for number in range(MOST_SESSIONS + 1):
        sticking.failed_over(str(number), "a", 0.0)
    assert sticking.stay("0", 1.0) is None
    assert sticking.stay("1", 1.0) == Stay("a", 60.0)
    assert sticking.stay("1", 60.0) is None


def _attempt(model: str, kind: FailureKind | None = None) -> Attempt:
    return Attempt(model=model, endpoint="", kind=kind, seconds=0.0)


@pytest.mark.parametrize(
    ("attempts", "failover"),
    [
        ((_attempt("a"),), False),
        ((_attempt("a", FailureKind.OVERLOADED), _attempt("b")), True),
        ((_attempt("b"),), True),
        ((_attempt("a", FailureKind.CANCELLED), _attempt("b")), False),
        ((_attempt("b", FailureKind.OVERLOADED), _attempt("a")), False),
    ],
    ids=["the first", "it failed", "it was passed over", "a hedge was faster", "the first, later"],
)
def test_what_is_a_failover(attempts: tuple[Attempt, ...], failover: bool) -> None:
    assert is_failover("a", attempts) is failover
