"""The forms in which each family of models writes tool-call ids and reasoning details. Strict mode uses them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..models import registry
from ..models.families import Family, family
from ..models.money import Served
from . import signatures

Json = Mapping[str, Any]

_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Seed(NamedTuple):
    """The values that identify one tool call: the answer's id, the tool's name, the call's position."""

    answer: str
    number: int
    name: str
    position: int

    def letters(self, count: int) -> str:
        digest = hashlib.sha512(f"{self.answer}/{self.name}/{self.position}".encode()).digest()
        return "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:count])

    def digits(self, count: int) -> str:
        return str(int.from_bytes(hashlib.sha256(self.letters(20).encode()).digest()[:8], "big")).zfill(20)[:count]


def _gemini(seed: Seed) -> str:
    # Google's API may omit the id. The gateway then sends an empty id, or builds an id from position and name.
    return "" if seed.number % 2 == 0 else f"tool_{seed.position}_{seed.name}"


_IDS: Mapping[Family, Callable[[Seed], str]] = {
    Family.ANTHROPIC: lambda seed: f"toolu_01{seed.letters(22)}",
    Family.OPENAI: lambda seed: f"call_{seed.letters(24)}",
    Family.GOOGLE: _gemini,
    Family.MISTRAL: lambda seed: seed.letters(9),
    Family.MOONSHOT: lambda seed: f"functions.{seed.name}:{seed.position}",
    Family.DEEPSEEK: lambda seed: f"call_{seed.position:02}_{seed.letters(24)}",
    Family.QWEN: lambda seed: f"call_{seed.letters(24).lower()}",
    Family.XAI: lambda seed: f"call_{seed.digits(8)}",
    Family.META: lambda seed: f"chatcmpl-tool-{seed.letters(32).lower()}",
    Family.COHERE: lambda seed: f"{seed.name}_{seed.letters(12).lower()}",
    Family.OTHER: lambda seed: f"call_{seed.letters(24).lower()}",
}
"""The form in which each family writes an id. Kimi counts the calls of one answer, so its ids repeat in every turn."""


def call_id(model: str, seed: Seed) -> str:
    """The id of one tool call in the form of the model's family."""
    return _IDS[family(model)](seed)


def details(
    request: Json, served: Served, text: str, calls: Sequence[Json], *, account: str, nonce: bytes
) -> list[dict[str, Any]]:
    """The `reasoning_details` of an answer with this reasoning text ("" for none) and these tool calls."""
    model = served.model.id
    shared = {"format": registry.author(model).reasoning_format, "index": 0}
    kind = family(model)
    if kind is Family.ANTHROPIC:
        if not text:
            return []
        signature = signatures.claude(model, text, signatures.whole(request))
        return [{"type": "reasoning.text", "text": text, "signature": signature, **shared}]
    if kind in (Family.OPENAI, Family.XAI):
        if not text:
            return []
        data = signatures.sealed(kind, account, served.host.name, nonce=nonce)
        item = f"rs_{base64.b16encode(nonce[:20]).decode().lower()}"
        summary = {"type": "reasoning.summary", "summary": text, **shared}
        return [summary, {"type": "reasoning.encrypted", "data": data, "id": item, **shared}]
    plain = [{"type": "reasoning.text", "text": text, **shared}] if text else []
    if kind is Family.GOOGLE and (text or calls):
        named = {"id": calls[0]["id"]} if calls and calls[0]["id"] else {}
        data = signatures.sealed(kind, nonce=nonce)
        plain.append({"type": "reasoning.encrypted", "data": data, **named, **shared})
    return plain
