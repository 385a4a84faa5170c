"""The family and the version of a model, read from the model's id. The rules of strict mode depend on both."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

Json = Mapping[str, Any]


class Family(StrEnum):
    """Models of one maker whose servers check histories in the same way."""

    ANTHROPIC = "Anthropic"
    OPENAI = "OpenAI"
    GOOGLE = "Google"
    MISTRAL = "Mistral"
    MOONSHOT = "Moonshot"
    DEEPSEEK = "DeepSeek"
    QWEN = "Qwen"
    XAI = "xAI"
    META = "Meta"
    COHERE = "Cohere"
    OTHER = "others"


_AUTHORS: Mapping[str, Family] = {
    "anthropic": Family.ANTHROPIC,
    "openai": Family.OPENAI,
    "google": Family.GOOGLE,
    "mistralai": Family.MISTRAL,
    "moonshotai": Family.MOONSHOT,
    "deepseek": Family.DEEPSEEK,
    "qwen": Family.QWEN,
    "x-ai": Family.XAI,
    "meta-llama": Family.META,
    "cohere": Family.COHERE,
}
# Models with open weights. Any server may run them, so the rules of the maker's own server do not apply.
_OPEN_WEIGHTS = re.compile(r"gpt-oss|gemma")
_VERSION = re.compile(r"(?<![a-z\d.])[a-z]?(\d+)(?:[.-](\d{1,2})(?![\da-z]))?(?![\d.]*[a-z])")


def base(model: str) -> str:
    """A model id without its variant."""
    return model.partition(":")[0]


def family(model: str) -> Family:
    """The family of a model id."""
    author, _, name = base(model).lstrip("~").partition("/")
    return Family.OTHER if _OPEN_WEIGHTS.search(name) else _AUTHORS.get(author, Family.OTHER)


def version(model: str) -> tuple[int, int]:
    """The version in a model id as (major, minor): (4, 5) for `claude-sonnet-4.5`, (0, 0) for an id without version."""
    found = _VERSION.search(base(model).partition("/")[2])
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def reasons(request: Json, *, always: bool = False) -> bool:
    """Whether the model reasons for this request: the request asks for reasoning, or the model reasons `always`."""
    wish = request.get("reasoning") or {}
    effort = wish.get("effort") or request.get("reasoning_effort")
    asked = wish.get("enabled") or wish.get("max_tokens") or effort not in (None, "none")
    return bool(asked or always or request["model"].endswith(":thinking"))


def thinks(request: Json, model: str, *, able: bool = True, must: bool = False) -> bool:
    """Whether a model reasons for this request. False unless the model is `able` to.

    Moonshot's Kimi reasons by default from K2.5 on, unless the request turns reasoning off.
    """
    if not able or (family(model) is Family.MISTRAL and "magistral" not in model):
        return False
    wish = request.get("reasoning") or {}
    if wish.get("enabled") is False or "none" in (wish.get("effort"), request.get("reasoning_effort")):
        return must
    default = family(model) is Family.MOONSHOT and ("thinking" in model or version(model) >= (2, 5))
    return reasons(request, always=must or default)
