"""What `route()` says of a call beside its candidates: why one goes first, and which first tokens are overdue when."""

from __future__ import annotations

from typing import Any

import pytest

from openrouter_fallback import FallbackClient
from openrouter_fallback.composition import parts_of

ONE, OTHER = "lab/one", "elsewhere:lab/other"
CALLED: list[dict[str, Any]] = [
    {"role": "user", "content": "What is the weather?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
        "model": "lab/other",
    },
    {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FallbackClient:
    monkeypatch.delenv("ELSEWHERE_KEY", raising=False)
    elsewhere = {"base_url": "http://elsewhere.test/v1", "api_key_env": "ELSEWHERE_KEY"}
    config = {
        "default_chain": [ONE, OTHER],
        "endpoints": {"elsewhere": elsewhere},
        "settings": {"catalog": "never"},
    }
    return FallbackClient(config=config, api_key="sk-or-v1-one")


@pytest.mark.parametrize("key", [None, "sk-elsewhere"])
def test_a_model_without_a_key_does_not_go_first(
    client: FallbackClient, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    if key is not None:
        monkeypatch.setenv("ELSEWHERE_KEY", key)
    route = client.route(messages=CALLED)
    if key is None:
        assert (route.candidates, route.notes) == ((ONE,), ())
        assert [(skip.model, skip.reason) for skip in route.skipped] == [(OTHER, "no API key")]
    else:
        assert (route.candidates, route.notes) == (
            (OTHER, ONE),
            (f"{OTHER} goes first: its tool calls are answered",),
        )


def test_the_learnt_deadline_for_a_first_token_of_this_request_is_shown(client: FallbackClient) -> None:
    runtime = parts_of(client).runtime
    runtime.clock = lambda: 1000.0
    assert client.route().first_token_overdue == {}
    target = parts_of(client).planner.candidate(ONE, ()).target
    for _ in range(200):
        permit = runtime.health.begin(target, 998.0)
        assert permit is not None
        runtime.health.first_token(permit, 1000.0)
        runtime.health.ended(permit)
    shown = client.route().first_token_overdue
    assert shown == {ONE: client.health()[ONE].first_token_overdue}
    assert 8.0 <= shown[ONE] <= 8.0 * 1.2
    assert client.route(messages="much " * 10_000).first_token_overdue == {}, "a longer prompt is another class"
    runtime.health.late(OTHER, 1000.0)
    assert client.route().first_token_overdue == {}, "where others are late too, no learnt deadline holds"
