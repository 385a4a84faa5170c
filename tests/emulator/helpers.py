"""A client's half of the wire, as little of it as the emulator's tests need."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx2

from openrouter_fallback.emulator import Emulator

MODEL = "openai/gpt-5.1"
SHARED = Path(__file__).parents[3] / "shared" / "openrouter"

# A client otherwise reads all certificates of the system, which takes longer than a test.
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

Json = dict[str, Any]


class Asker:
    """Asks an emulator over real HTTP."""

    def __init__(self, emulator: Emulator) -> None:
        headers = {"Authorization": f"Bearer {emulator.api_key}"}
        self.http = httpx2.Client(base_url=emulator.base_url, headers=headers, timeout=10, verify=PLAIN)

    def post(self, prompt: str = "Hello there", **fields: Any) -> httpx2.Response:
        return self.http.post("/chat/completions", json=request(prompt, **fields))

    def body(self, prompt: str = "Hello there", **fields: Any) -> Json:
        response = self.post(prompt, **fields)
        assert response.status_code == 200, response.text
        found: Json = response.json()
        return found

    def chunks(self, prompt: str = "Hello there", **fields: Any) -> list[Json]:
        return chunks_of(self.post(prompt, stream=True, **fields).text)


def request(prompt: str = "Hello there", **fields: Any) -> Json:
    return {"model": MODEL, "messages": [{"role": "user", "content": prompt}], **fields}


def events(text: str) -> Iterator[str]:
    """The events of a stream, a comment as ":", an event as its data."""
    for part in text.split("\n\n"):
        if part:
            yield ":" if part.startswith(":") else part.removeprefix("data: ")


def chunks_of(text: str) -> list[Json]:
    return [json.loads(event) for event in events(text) if event not in (":", "[DONE]")]


def join(chunks: Iterable[Json]) -> Json:
    """Put an answer together again, independently of how the emulator took it apart."""
    choices: dict[int, Json] = {}
    usage = None
    for chunk in chunks:
        usage = chunk.get("usage", usage)
        for choice in chunk["choices"]:
            _add(choices.setdefault(choice["index"], {"message": {}, "finish_reason": None, "logprobs": []}), choice)
    return {"choices": [choices[index] for index in sorted(choices)], "usage": usage}


def _add(whole: Json, choice: Json) -> None:
    message = whole["message"]
    delta = deepcopy(choice["delta"])
    whole["finish_reason"] = choice["finish_reason"] or whole["finish_reason"]
    whole["logprobs"] += (choice.get("logprobs") or {}).get("content") or []
    for key in ("content", "reasoning", "refusal"):
        message[key] = message.get(key, "") + (delta.get(key) or "")
    for key in ("images", "annotations"):
        message[key] = message.get(key, []) + delta.get(key, [])
    details: list[Json] = message.setdefault("reasoning_details", [])
    for detail in delta.get("reasoning_details", []):
        _merge_detail(details, detail)
    calls: dict[int, Json] = message.setdefault("tool_calls", {})
    for call in delta.get("tool_calls", []):
        _merge_call(calls, call)


def _merge_detail(details: list[Json], detail: Json) -> None:
    known = next((one for one in details if (one["index"], one["type"]) == (detail["index"], detail["type"])), None)
    if known is None:
        details.append(detail)
        return
    for key, value in detail.items():
        known[key] = known.get(key, "") + value if key in ("text", "summary") else value


def _merge_call(calls: dict[int, Json], call: Json) -> None:
    known = calls.setdefault(call["index"], {"index": call["index"], "type": "function", "function": {"arguments": ""}})
    function = call["function"]
    known["id"] = call.get("id") or known.get("id")
    known["function"]["name"] = function.get("name") or known["function"].get("name")
    known["function"]["arguments"] += function.get("arguments") or ""
