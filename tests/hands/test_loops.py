"""One tool loop in which the models take turns, with reasoning: the strict emulator refuses none of its requests."""

from __future__ import annotations

from typing import Any

import pytest

from openrouter_fallback import FallbackClient

from .matrix import FAMILIES, TOOL, served

FIRSTS = [models[0] for models in FAMILIES.values()]
CLAUDE = FIRSTS[0]
_SETTINGS = {"retry_budget": None, "min_samples": 1000, "catalog": "never"}


@pytest.mark.parametrize("said", ["", "Hurry, get_weather 'Oslo'"], ids=["a loop", "a word of the user in it"])
@pytest.mark.parametrize("other", FIRSTS[1:])
def test_a_loop_goes_from_hand_to_hand_at_each_step(other: str, said: str) -> None:
    """Claude thinks, another model goes on, Claude is back: it may not think in this loop any more."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Please get_weather 'Rome'"}]
    with (
        served() as emulator,
        FallbackClient(
            [CLAUDE, other], base_url=emulator.base_url, api_key=emulator.api_key, settings=_SETTINGS
        ) as client,
    ):
        for step in range(5):
            down = (other, CLAUDE)[step % 2]
            emulator.clear()
            emulator.fault("temporarily_unavailable", model=down)
            client.reset()
            forced: dict[str, Any] = (
                {"tool_choice": {"type": "function", "function": {"name": "get_weather"}}} if step < 4 else {}
            )
            answer = client.chat(messages, tools=[TOOL], reasoning={"effort": "high"}, **forced)
            refused = [(request.model, request.status) for request in emulator.log if request.status in (400, 404, 422)]
            assert not refused, answer.attempts
            assert answer.attempts[-1].model == (CLAUDE, other)[step % 2]
            messages.append(dict(answer.message))
            messages += [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in answer.tool_calls]
            if said and step == 1:
                messages.append({"role": "user", "content": said})
