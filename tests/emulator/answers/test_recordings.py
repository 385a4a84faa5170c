"""The emulator's streams beside recorded ones: whoever writes both ends of a wire agrees with himself."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from openrouter_fallback.emulator import Emulator

from ..helpers import SHARED, Asker, chunks_of, events

RECORDINGS = SHARED / "recordings"
pytestmark = pytest.mark.skipif(
    not RECORDINGS.is_dir(), reason="no recordings beside the repository (shared/openrouter)"
)


def recorded(name: str, index: int = 0) -> dict[str, Any]:
    interactions = yaml.safe_load((RECORDINGS / f"{name}.yaml").read_text(encoding="utf-8"))["interactions"]
    found: dict[str, Any] = interactions[index]["response"]
    return found


def kinds(text: str) -> list[str]:
    """The run of a stream, each kind of event named once where it begins."""
    run: list[str] = []
    for event in events(text):
        run += [kind for kind in [_kind(event)] if kind not in run]
    return run


def _kind(event: str) -> str:
    if event in (":", "[DONE]"):
        return event
    (chunk,) = chunks_of(f"data: {event}")
    if "error" in chunk:
        return "error"
    if "usage" in chunk:
        return "usage"
    choice = chunk["choices"][0]
    delta = choice["delta"]
    if choice["finish_reason"]:
        return "finish"
    return next((key for key in ("reasoning", "content") if delta.get(key)), "role")


def keys(value: Any) -> Any:
    """The names in a chunk, and not its values."""
    if isinstance(value, dict):
        return {key: keys(inner) for key, inner in value.items()}
    return [keys(inner) for inner in value[:1]] if isinstance(value, list) else None


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("streaming_reasoning", {"model": "anthropic/claude-sonnet-4.5", "reasoning": {"enabled": True}}),
        ("stream_with_native_options", {"model": "x-ai/grok-4"}),
    ],
)
def test_the_run_of_a_stream(ask: Asker, name: str, fields: dict[str, Any]) -> None:
    ours = ask.post(stream=True, **fields).text
    assert kinds(ours) == kinds(recorded(name)["body"]["string"])


def test_the_names_in_chunks(ask: Asker) -> None:
    theirs = chunks_of(recorded("cache_streaming")["body"]["string"])
    ours = ask.chunks(model="anthropic/claude-sonnet-4.6")
    assert list(ours[-1]) == list(theirs[-1])
    assert keys(ours[-1]) == keys(theirs[-1])
    for mine in ours[:-1]:
        assert list(mine) == list(theirs[0])
        assert keys(mine["choices"][0]["delta"]) == keys(theirs[0]["choices"][0]["delta"])
        assert set(theirs[0]["choices"][0]) <= set(mine["choices"][0])


def test_the_names_of_reasoning(ask: Asker) -> None:
    theirs = chunks_of(recorded("streaming_reasoning")["body"]["string"])
    ours = ask.chunks(model="anthropic/claude-sonnet-4.5", reasoning={"enabled": True})

    def names(chunks: list[Any]) -> set[frozenset[str]]:
        deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
        found = [detail for delta in deltas for detail in delta.get("reasoning_details", [])]
        return {frozenset(detail) for detail in found if detail.get("text") or detail.get("signature")}

    assert names(ours) == names(theirs)


@pytest.mark.parametrize(("name", "extra"), [("with_native_options", {}), ("tool_calling", {"tools": []})])
def test_the_names_in_an_unstreamed_body(ask: Asker, name: str, extra: dict[str, Any]) -> None:
    theirs = recorded(name)["parsed_body"]
    if name == "tool_calling":
        tool = {"type": "function", "function": {"name": "divide", "parameters": {"type": "object"}}}
        extra = {"tools": [tool], "tool_choice": "required"}
    ours = ask.body(**extra)
    assert set(theirs) <= set(ours)
    assert set(ours["choices"][0]) == set(theirs["choices"][0])
    assert keys(ours["choices"][0]["message"]) == keys(theirs["choices"][0]["message"])
    assert set(theirs["usage"]) <= set(ours["usage"])


def test_an_error_after_the_finish(emulator: Emulator, ask: Asker) -> None:
    emulator.fault("error_after_finish")
    theirs = recorded("stream_error")["body"]["string"]
    emulator.reply(text="", reasoning="We need to respond")
    ours = ask.post(stream=True).text
    run = [":", "role", "reasoning", "finish", "error", "[DONE]"]
    assert kinds(ours) == run
    assert kinds(theirs) == [kind for kind in run if kind != "role"]
    (mine,), (their,) = ([c for c in chunks_of(text) if "error" in c] for text in (ours, theirs))
    assert set(mine) == set(their)
    assert mine["error"] == their["error"]


def test_an_upstream_rate_limit(emulator: Emulator, ask: Asker) -> None:
    theirs = recorded("errors_raised")
    emulator.fault("rate_limit_exceeded")
    ours = ask.post(model="google/gemini-2.0-flash-exp:free")
    assert ours.status_code == theirs["status"]["code"]
    error, metadata = ours.json()["error"], theirs["parsed_body"]["error"]["metadata"]
    assert {**error, "metadata": None} == {**theirs["parsed_body"]["error"], "metadata": None}
    assert set(metadata) <= set(error["metadata"])
    assert error["metadata"]["provider_name"] == metadata["provider_name"]
