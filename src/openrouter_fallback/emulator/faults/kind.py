"""The type of a row in the table of faults, and functions that several faults share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from ..answers import completion, tools
from .errors import Details
from .plan import Plan, Scene, Step, media_type


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault: its description, the function that makes its plan, and its details with their defaults."""

    doc: str
    plan: Callable[[Scene, Details], Plan]
    details: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    source: str = ""
    """Where the fault was seen: threads of public repositories (without the owner), documentation, or recordings."""


def fault(scene: Scene, steps: list[Step]) -> Plan:
    """The plan of a fault with status 200."""
    return Plan(steps, media_type=media_type(scene))


def with_choice(scene: Scene, message: Mapping[str, Any], finish: str | None) -> dict[str, Any]:
    """The healthy body with one choice, these fields of its message, and this finish reason."""
    body = deepcopy(scene.body)
    choice = body["choices"][0]
    choice["message"] |= message
    for key in ("tool_calls", "reasoning_details"):
        if not choice["message"].get(key):
            choice["message"].pop(key, None)
    choice |= {
        "finish_reason": finish,
        "native_finish_reason": completion.native(body["model"], finish),
        "logprobs": None,
    }
    body["choices"] = [choice]
    body["usage"] = completion.usage(scene.request, body["choices"], scene.served)
    return body


BARE: dict[str, Any] = {"content": "", "reasoning": None, "reasoning_details": [], "tool_calls": []}
"""A message with nothing in it."""


def called(scene: Scene) -> list[dict[str, Any]]:
    """The healthy answer's tool calls, else a call of the request's first tool, else a call of an invented tool."""
    calls = scene.body["choices"][0]["message"].get("tool_calls")
    forced = calls or tools.calls({**scene.request, "tool_choice": "required"})
    return deepcopy(forced) or [tools.tool_call("look_up", {"query": "the whole question"}, 0)]
