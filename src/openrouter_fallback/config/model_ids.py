"""Model ids: their format, their endpoint, and the error message for an invalid id."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable

from ..suggest import did_you_mean
from .problems import listed, show

OPENROUTER = "openrouter"
STANDARD_TIERS = ("budget", "standard", "premium")  # cheapest first


_ID = re.compile(r"[~@]?[A-Za-z0-9][\w.-]*/[^\s/:@]+(@preset/[\w.-]+)?(:[\w.-]+)?", re.ASCII)
ENDPOINT_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
_VARIANTS = {"free", "nitro", "floor", "online", "thinking", "exacto", "extended", "beta"}

# The most likely author of a model name without a prefix.
_AUTHORS = (
    (r"gpt|o[1-9]\b|chatgpt", "openai"),
    (r"claude", "anthropic"),
    (r"gemini|gemma", "google"),
    (r"llama", "meta-llama"),
    (r"mistral|mixtral|codestral|ministral|devstral", "mistralai"),
    (r"deepseek", "deepseek"),
    (r"qwen|qwq", "qwen"),
    (r"grok", "x-ai"),
    (r"command", "cohere"),
    (r"kimi", "moonshotai"),
)


def split_id(id: str, endpoints: Container[str]) -> tuple[str, str]:
    """The endpoint's and the model's name: `groq:llama` -> (groq, llama), `a/b:free` -> (openrouter, a/b:free)."""
    head, colon, rest = id.partition(":")
    return (head, rest) if colon and head in endpoints else (OPENROUTER, id)


def looks_mistyped(one: str, other: str) -> bool:
    """Whether two ids differ only in spelling. Another version, size or family is another model."""
    import difflib

    first, second = (re.findall(r"[a-z]+|\d+", id.lower()) for id in (one, other))
    if len(first) != len(second) or difflib.SequenceMatcher(None, one, other).ratio() <= 0.85:
        return False
    return all(
        a == b or (a.isalpha() and b.isalpha() and difflib.SequenceMatcher(None, a, b).ratio() >= 0.75)
        for a, b in zip(first, second, strict=True)
    )


def id_problem(id: str, endpoints: Iterable[str], known: Iterable[str] = ()) -> str | None:
    """The problem of a model id and the allowed format; None if valid."""
    endpoints = list(endpoints)
    others = [other for other in known if other != id]
    if not id or not id.isprintable() or " " in id:
        return f"found {show(id)}; allowed is a model id without white space, as in 'openai/gpt-5.1'."
    endpoint, model = split_id(id, endpoints)
    if endpoint != OPENROUTER:
        return None if model else f"found {show(id)}; allowed is a model's name after the endpoint's, as in '{id}name'."
    if _ID.fullmatch(model):
        return None
    head, colon, rest = id.partition(":")
    if colon and "/" not in head and rest not in _VARIANTS and head != OPENROUTER:
        return (
            f"found {show(id)}, but {show(head)} is not an endpoint; configured: {listed(endpoints)}."
            f"{did_you_mean(head, endpoints)} Other servers are named under `endpoints`."
        )
    if "/" not in model:
        return (
            f"found {show(id)}, which has no provider prefix; allowed is author/model, as in 'openai/gpt-5.1'."
            f"{_with_author(model, others)}"
        )
    allowed = "allowed is author/model with an optional :variant, as in 'openai/gpt-5.1' or 'openai/gpt-oss-120b:free'"
    return f"found {show(id)}; {allowed}.{did_you_mean(id, others)}"


def _with_author(name: str, others: Iterable[str]) -> str:
    names = {other.partition("/")[2]: other for other in others if "/" in other}
    author = next((author for begin, author in _AUTHORS if re.match(begin, name, re.IGNORECASE)), None)
    meant = names.get(name) or next((id for other, id in names.items() if looks_mistyped(other, name)), None)
    meant = meant or (f"{author}/{name}" if author else None)
    return f" Did you mean {show(meant)}?" if meant else did_you_mean(name, others)
