"""What the types of a configuration cannot say: ids that fit, tiers that agree, settings that are used.

Works on raw data and passes over what has the wrong type, so that all mistakes are found at once.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from pydantic_core import InitErrorDetails

from ._mistakes import Mistake, Path, Source, listed, mistake, refuse, show
from ._values import AUTO, MAX_DEPTH, is_unicode
from .suggest import did_you_mean

OPENROUTER = "openrouter"
STANDARD_TIERS = ("budget", "standard", "premium")  # cheapest first
CHAIN_MAPS = ("task_chains", "cost_tiers", "providers")

_ID = re.compile(r"[~@]?[A-Za-z0-9][\w.-]*/[^\s/:@]+(@preset/[\w.-]+)?(:[\w.-]+)?", re.ASCII)
_ENDPOINT = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
_VARIANTS = {"free", "nitro", "floor", "online", "thinking", "exacto", "extended", "beta"}

# Whose model a bare name most likely is.
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


def unwrap(source: Source, known: Container[str]) -> tuple[object, Path, list[Mistake]]:
    """What stands under `fallback`, or the whole where there is no such key; its path; and what is wrong around it."""
    root: Any = source.data
    if "fallback" not in root:
        names = [] if any(key in known for key in root) else [key for key in root if isinstance(key, str)]
        meant = next((name for name in names if did_you_mean(name, ["fallback"])), None)
        if meant is not None:
            return None, (), [Mistake((meant,), "unknown key. Did you mean 'fallback'?")]
        return root, (), []
    inner, path, mistakes = root["fallback"], ("fallback",), []
    for key in root:
        if key != "fallback":
            name = key if isinstance(key, str) else show(key)
            indent = " Indent it to belong there." if key in known else ""
            mistakes.append(Mistake((name,), f"unknown key beside `fallback`.{indent}"))
    if not isinstance(inner, Mapping):
        said = f"found {show(inner, path, source.texts.get(path))}; allowed is a mapping with at least one chain."
        mistakes.append(Mistake(path, said))
    return inner, path, mistakes


def plain(value: object, path: Path, lines: list[InitErrorDetails]) -> object:
    """Any mapping as dicts with string keys, and lists; what is wrong with keys and texts goes to `lines`."""
    if len(path) > MAX_DEPTH:
        raise refuse(f"nested more than {MAX_DEPTH} levels deep.")
    if isinstance(value, str):
        if is_unicode(value):
            return value
        lines.append(mistake(path, "found a lone surrogate; allowed is a string of valid Unicode."))
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        out: dict[str, object] = {}
        for key, one in value.items():
            name = plain(str.__str__(key), path, lines) if isinstance(key, str) else show(key)
            name = str(name)
            if not isinstance(key, str):
                lines.append(mistake((*path, name), f"found the key {name}; allowed is a string: quote it, '{name}'."))
            out[name] = plain(one, (*path, name), lines)
        return out
    if isinstance(value, list | tuple):
        return [plain(one, (*path, index), lines) for index, one in enumerate(value)]
    return value


def chains(data: Mapping[str, object]) -> Iterator[tuple[Path, list[object]]]:
    """Every list of model ids with its path."""
    default = data.get("default_chain")
    if isinstance(default, list):
        yield ("default_chain",), default
    for section in CHAIN_MAPS:
        named = data.get(section)
        for name, chain in named.items() if isinstance(named, dict) else ():
            if isinstance(chain, list):
                yield (section, name), chain


def split_id(id: str, endpoints: Container[str]) -> tuple[str, str]:
    """The endpoint's name and the model there: `groq:llama` -> (groq, llama), `a/b:free` -> (openrouter, same)."""
    head, colon, rest = id.partition(":")
    return (head, rest) if colon and head in endpoints else (OPENROUTER, id)


def looks_mistyped(one: str, other: str) -> bool:
    """Whether two ids differ by spelling only; another version, size or family is another model."""
    import difflib

    first, second = (re.findall(r"[a-z]+|\d+", id.lower()) for id in (one, other))
    if len(first) != len(second) or difflib.SequenceMatcher(None, one, other).ratio() <= 0.85:
        return False
    return all(
        a == b or (a.isalpha() and b.isalpha() and difflib.SequenceMatcher(None, a, b).ratio() >= 0.75)
        for a, b in zip(first, second, strict=True)
    )


def id_problem(id: str, endpoints: Iterable[str], known: Iterable[str] = ()) -> str | None:
    """What is wrong with a model id and what is allowed; None if nothing is."""
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


def review(data: Mapping[str, object]) -> list[InitErrorDetails]:
    """All mistakes that take more than one field to see."""
    return [*_endpoint_names(data), *_ids(data), *_unused_models(data), *_tiers(data), *_nothing(data)]


def _dict(data: Mapping[str, object], key: str) -> dict[str, object]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _endpoint_names(data: Mapping[str, object]) -> Iterator[InitErrorDetails]:
    for name in _dict(data, "endpoints"):
        if not _ENDPOINT.fullmatch(name):
            yield mistake(("endpoints", name), "the name may hold letters, digits, '.', '_' and '-'.")


def _used(data: Mapping[str, object]) -> list[str]:
    return list(dict.fromkeys(id for _, chain in chains(data) for id in chain if isinstance(id, str)))


def _ids(data: Mapping[str, object]) -> Iterator[InitErrorDetails]:
    endpoints, used, models = _dict(data, "endpoints"), _used(data), _dict(data, "models")
    for path, chain in chains(data):
        seen: dict[str, int] = {}
        for index, id in enumerate(chain):
            if not isinstance(id, str):
                continue
            if id in seen:
                text = f"found {show(id)} again, first at position {seen[id] + 1}; each model stands once in a chain."
                yield mistake((*path, index), text)
            elif problem := id_problem(id, endpoints, [*used, *models]):
                yield mistake((*path, index), problem)
            seen.setdefault(id, index)
    for id in models:
        if problem := id_problem(id, endpoints, used):
            yield mistake(("models", id), problem)


def _unused_models(data: Mapping[str, object]) -> Iterator[InitErrorDetails]:
    used = _used(data)
    for id in _dict(data, "models"):
        meant = None if id in used else next((other for other in used if looks_mistyped(id, other)), None)
        if meant is not None:
            yield mistake(
                ("models", id),
                f"no chain uses {show(id)}, so these settings would do nothing. Did you mean {show(meant)}?",
            )


def _tiers(data: Mapping[str, object]) -> Iterator[InitErrorDetails]:
    tiers, order = list(_dict(data, "cost_tiers")), data.get("tier_order")
    if order is None:
        for tier in tiers:
            if tier not in STANDARD_TIERS:
                yield mistake(
                    ("cost_tiers", tier),
                    f"unknown tier {show(tier)}.{did_you_mean(tier, STANDARD_TIERS)} "
                    f"Known are {listed(STANDARD_TIERS)}; other names need `tier_order`, cheapest first.",
                )
    if not isinstance(order, list) or not all(isinstance(tier, str) for tier in order):
        return
    for index, tier in enumerate(order):
        if tier not in tiers:
            text = f"unknown tier {show(tier)}.{did_you_mean(tier, tiers)} `cost_tiers` has {listed(tiers) or 'none'}."
            yield mistake(("tier_order", index), text)
        elif tier in order[:index]:
            yield mistake(("tier_order", index), f"found {show(tier)} again; each tier stands once in the order.")
    missing = [tier for tier in tiers if tier not in order]
    if missing and order and set(order) <= set(tiers):
        yield mistake(("tier_order",), f"{listed(map(show, missing))} is missing; the order must name every tier.")
    standard = [tier for tier in order if tier in STANDARD_TIERS]
    if standard != sorted(standard, key=STANDARD_TIERS.index):
        yield mistake(
            ("tier_order",), f"found {listed(standard)}; allowed is cheapest first: {listed(STANDARD_TIERS)}."
        )


def _nothing(data: Mapping[str, object]) -> Iterator[InitErrorDetails]:
    sources = ("default_chain", "task_chains", "cost_tiers")
    if all(key not in data or data[key] in ({}, AUTO) for key in sources):
        text = "no models are given; allowed is at least one of `default_chain`, `task_chains` and `cost_tiers`."
        yield mistake((), text)
