"""Signatures of reasoning, and encrypted reasoning, as strict mode issues and checks them.

No signature is stored. A signature is a digest of the values that it is bound to, so another process with the same
account can check it:

- Anthropic: the model and the text; for newer models also the whole conversation before the text.
- OpenAI and xAI: the account and the provider.
- Google: the family.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from ..models.families import base, version

Json = Mapping[str, Any]

SKIP_VALIDATION = "skip_thought_signature_validator"
"""Google's documented placeholder for a missing signature."""

_BOUND_TO_CONTEXT = (4, 6)
_DIGEST_BYTES = 32


def claude(model: str, text: str, context: bytes) -> str:
    """Anthropic's signature of a thinking text. `context` is the digest of the conversation before the text."""
    bound = context if version(model) >= _BOUND_TO_CONTEXT else b""
    return base64.b64encode(_digest(b"anthropic", base(model).encode(), text.encode(), bound)).decode()


def sealed(*bound: str, nonce: bytes) -> str:
    """Encrypted reasoning that is valid only for the names in `bound`."""
    return base64.urlsafe_b64encode(nonce + _digest(*(name.encode() for name in bound), nonce)).decode()


def opens(data: Any, *bound: str) -> bool:
    """Whether `sealed` made this data for the same names."""
    try:
        raw = base64.urlsafe_b64decode(data)
    except (TypeError, ValueError):
        return False
    nonce, mac = raw[:-_DIGEST_BYTES], raw[-_DIGEST_BYTES:]
    return bool(nonce) and mac == _digest(*(name.encode() for name in bound), nonce)


def contexts(request: Json) -> Iterator[bytes]:
    """The digests of the conversation before each message of a request; the last digest covers the whole request.

    A digest ignores everything that a gateway rewrites: whether a text is a string or a part, the spelling of JSON
    arguments, cache marks, names of speakers, earlier reasoning.
    """
    running = hashlib.sha256(_canonical([tool.get("function") or tool for tool in request.get("tools") or ()]))
    for message in request["messages"]:
        yield running.digest()
        running.update(_canonical(_content_of(message)))
    yield running.digest()


def whole(request: Json) -> bytes:
    """The digest of a whole request, which is the context of its answer."""
    *_, last = contexts(request)
    return last


def _content_of(message: Json) -> list[Any]:
    content = message.get("content")
    parts: Sequence[Any] = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    text = "".join(part["text"] for part in parts if part["type"] == "text")
    other = [{key: value for key, value in part.items() if key != "cache_control"} for part in parts]
    calls = [
        [call["id"], call["function"]["name"], _arguments(call["function"]["arguments"])]
        for call in message.get("tool_calls") or ()
    ]
    media = [part for part in other if part["type"] != "text"]
    return [message["role"], text, media, calls, message.get("tool_call_id")]


def _arguments(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _canonical(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _digest(*parts: bytes) -> bytes:
    found = hashlib.sha256(b"emulated")
    for part in parts:
        found.update(len(part).to_bytes(8, "big") + part)
    return found.digest()
