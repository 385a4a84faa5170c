"""Histories that other programs have written: each family's strict servers accept them at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from openrouter_fallback import FallbackClient
from openrouter_fallback.emulator import Emulator

from .matrix import BLIND, FAMILIES, TOOL, served

Json = dict[str, Any]

_SETTINGS = {"retry_budget": None, "min_samples": 1000, "catalog": "never"}
_ASKED: Json = {"role": "user", "content": "What is the weather?"}
_SHOWN: Json = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def _call(id: str | None, city: str) -> Json:
    return {"id": id, "type": "function", "function": {"name": "get_weather", "arguments": f'{{"city": "{city}"}}'}}


def _signed_calls(ids: tuple[str | None, ...], named: str | None) -> list[Json]:
    """Parallel calls of a Gemini with its signature, and their results."""
    entry = {
        "type": "reasoning.encrypted",
        "data": "skip_thought_signature_validator",
        "format": "google-gemini-v1",
        "id": named,
        "index": 0,
    }
    calls = [_call(id, city) for id, city in zip(ids, ("Rome", "Oslo"), strict=True)]
    called = {"role": "assistant", "content": None, "tool_calls": calls, "reasoning_details": [entry]}
    return [_ASKED, called, *({"role": "tool", "tool_call_id": id, "content": "sunny"} for id in ids)]


def _dumped(**nothing: Any) -> list[Json]:
    return [_ASKED, {"role": "assistant", "content": "Sunny.", **nothing}, _ASKED]


HISTORIES: dict[str, list[Json]] = {
    "parallel calls with one id, signed": _signed_calls(("call_1", "call_1"), "call_1"),
    "parallel calls without ids, signed": _signed_calls(("", ""), ""),
    "parallel calls in another order than their signature": _signed_calls(("call_2", "call_1"), "call_1"),
    "the openai SDK's parse()": _dumped(tool_calls=[], refusal=None),
    "the openai SDK's model_dump()": _dumped(tool_calls=None, function_call=None, audio=None, annotations=None),
    "a drawing in an answer": [_ASKED, {"role": "assistant", "content": [_SHOWN]}, _ASKED],
}


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with served() as running:
        yield running


@pytest.mark.parametrize("what", HISTORIES)
def test_a_history_of_another_program_is_accepted_at_once(emulator: Emulator, what: str) -> None:
    for family, (reader, _) in FAMILIES.items():
        if "drawing" in what and family in BLIND:
            continue
        emulator.clear()
        with FallbackClient(
            [reader], base_url=emulator.base_url, api_key=emulator.api_key, settings=_SETTINGS
        ) as client:
            answer = client.chat(HISTORIES[what], tools=[TOOL])
        assert answer.text or answer.tool_calls
        assert [(request.model, request.status) for request in emulator.log] == [(reader, 200)]
