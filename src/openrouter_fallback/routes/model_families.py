"""Finds the family of a model, and compares two ids for the same model.

The family comes from the author in the id, else from the author in the catalog's canonical slug, else from the model's
name, else from the endpoint's host.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Final


class Family(StrEnum):
    """A family of models that validate a history by the same rules."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"
    GOOGLE = "google"
    MISTRAL = "mistral"
    MOONSHOT = "moonshot"
    DEEPSEEK = "deepseek"
    QWEN = "qwen"
    XAI = "xai"
    META = "meta"
    COHERE = "cohere"
    PERPLEXITY = "perplexity"
    OTHER = "other"


# Authors in ids of OpenRouter, of Hugging Face (used by other servers) and of cloud providers.
AUTHORS: Final[Mapping[str, Family]] = {
    "alibaba": Family.QWEN,
    "anthropic": Family.ANTHROPIC,
    "cohere": Family.COHERE,
    "coherelabs": Family.COHERE,
    "deepseek": Family.DEEPSEEK,
    "deepseek-ai": Family.DEEPSEEK,
    "google": Family.GOOGLE,
    "meta": Family.META,
    "meta-llama": Family.META,
    "mistral": Family.MISTRAL,
    "mistralai": Family.MISTRAL,
    "moonshot": Family.MOONSHOT,
    "moonshotai": Family.MOONSHOT,
    "openai": Family.OPENAI,
    "perplexity": Family.PERPLEXITY,
    "qwen": Family.QWEN,
    "x-ai": Family.XAI,
    "xai": Family.XAI,
}

# For an unknown author: the first match in the model's name. A fine-tuned model follows the rules of its base, because
# it has the base's chat template and tokenizer.
NAMES: Final = (
    (Family.MISTRAL, r"mistral|mixtral|ministral|magistral|codestral|devstral|pixtral"),
    (Family.MOONSHOT, r"kimi"),
    (Family.DEEPSEEK, r"deepseek"),
    (Family.ANTHROPIC, r"claude"),
    (Family.GOOGLE, r"gemini|gemma"),
    (Family.QWEN, r"qwen|qwq"),
    (Family.XAI, r"grok"),
    (Family.META, r"llama"),
    (Family.COHERE, r"command-|c4ai|aya-"),
    (Family.PERPLEXITY, r"\bsonar"),
    (Family.OPENAI, r"gpt-|chatgpt|codex|(?<![a-z0-9])o[1-9](?![a-z0-9])"),
)

HOSTS: Final[Mapping[str, Family]] = {
    "api.anthropic.com": Family.ANTHROPIC,
    "api.cohere.ai": Family.COHERE,
    "api.cohere.com": Family.COHERE,
    "api.deepseek.com": Family.DEEPSEEK,
    "api.mistral.ai": Family.MISTRAL,
    "api.moonshot.ai": Family.MOONSHOT,
    "api.moonshot.cn": Family.MOONSHOT,
    "api.openai.com": Family.OPENAI,
    "api.perplexity.ai": Family.PERPLEXITY,
    "api.x.ai": Family.XAI,
    "dashscope-intl.aliyuncs.com": Family.QWEN,
    "dashscope.aliyuncs.com": Family.QWEN,
    "generativelanguage.googleapis.com": Family.GOOGLE,
}

_VARIANT: Final = re.compile(r":[a-z0-9-]+$")
_DATE: Final = re.compile(r"^(?:(?:20)?\d{6}|\d{4}|latest)$")
# Bedrock: `us.anthropic.claude-sonnet-4-5-20250929-v1:0`; Vertex: `claude-sonnet-4-5@20250929`.
_CLOUD: Final = re.compile(rf"^(?:[a-z]+\.)?(?:{'|'.join(AUTHORS)})\.|-v?\d+:\d+$|@.*$")


@lru_cache(maxsize=1024)
def family_of(model: str, slug: str | None = None, host: str = "") -> Family:
    """The family of a model. `model` is the name in requests, `slug` from the catalog, `host` the endpoint's host."""
    for id in (model, slug or ""):
        author = id.lower().lstrip("~").partition("/")[0] if "/" in id else ""
        if author in AUTHORS:
            return AUTHORS[author]
    name = f"{model} {slug or ''}".lower()
    return next((family for family, pattern in NAMES if re.search(pattern, name)), HOSTS.get(host, Family.OTHER))


@lru_cache(maxsize=4096)
def same_model(one: str, other: str) -> bool:
    """Whether two ids name the same model. An answer may add a date, reorder the words, or omit the author."""
    return one == other or _parts(one) == _parts(other)


def _parts(id: str) -> tuple[str, ...]:
    """The sorted words of a model's name, without endpoint, author, variant, date, `.0` and what a cloud adds. Equal
    for `claude-4.5-sonnet-20250929`, `claude-sonnet-4-5@20250929` and `claude-sonnet-4.5`."""
    name = _CLOUD.sub("", id.lower().rpartition("/")[2])
    name = _VARIANT.sub("", name).rpartition(":")[2]
    dashed = re.sub(r"-(20\d\d)-(\d\d)-(\d\d)$", "", name)
    return tuple(sorted(word for word in re.split(r"[-.]", dashed) if word != "0" and not _DATE.match(word)))
