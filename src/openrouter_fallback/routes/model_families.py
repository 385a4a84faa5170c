"""Which family a model belongs to, and whether two ids name the same model.

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
    """Models that check a history by the same rules."""

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


# The author of an id on OpenRouter, on Hugging Face (which other servers use) or of a cloud's listing.
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

# Where the author says nothing: the first match in the model's name. A fine-tuned model is checked by its base's rules,
# since the chat template and the tokenizer are the base's.
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
_DATE: Final = re.compile(r"^(?:20\d{6}|\d{4})$")


@lru_cache(maxsize=1024)
def family_of(model: str, slug: str | None = None, host: str = "") -> Family:
    """The family of a model: `model` as on the wire, `slug` from the catalog, `host` of its endpoint."""
    for id in (model, slug or ""):
        author = id.lower().lstrip("~").partition("/")[0] if "/" in id else ""
        if author in AUTHORS:
            return AUTHORS[author]
    name = f"{model} {slug or ''}".lower()
    return next((family for family, pattern in NAMES if re.search(pattern, name)), HOSTS.get(host, Family.OTHER))


@lru_cache(maxsize=4096)
def same_model(one: str, other: str) -> bool:
    """Whether two ids name the same model: an answer names it with a date, in another order, or without an author."""
    return one == other or _parts(one) == _parts(other)


def _parts(id: str) -> tuple[str, ...]:
    """The words of a model's name, without endpoint, author, variant and date: `claude-4.5-sonnet-20250929`,
    `claude-sonnet-4-5` and `claude-sonnet-4.5` have the same."""
    name = _VARIANT.sub("", id.lower()).rpartition("/")[2].rpartition(":")[2]
    dashed = re.sub(r"-(20\d\d)-(\d\d)-(\d\d)$", "", name)
    return tuple(sorted(word for word in re.split(r"[-.]", dashed) if not _DATE.match(word)))
