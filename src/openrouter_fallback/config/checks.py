"""Checks that field types cannot express: valid ids, matching tiers, models that a chain uses.

The checks read raw data and skip values of the wrong type, so that one error lists all mistakes.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any

from pydantic_core import InitErrorDetails

from ..source import Mistake, Path, Source
from ..suggest import VERY_CLOSE, did_you_mean, nearest
from .fields import AUTO, MAX_DEPTH, is_unicode
from .model_ids import ENDPOINT_NAME, STANDARD_TIERS, id_problem, looks_mistyped
from .problems import listed, mistake, refuse, show

CHAIN_MAPS = ("task_chains", "cost_tiers", "providers")


def unwrap(source: Source, known: Container[str]) -> tuple[object, Path, list[Mistake]]:
    """The value of the key `fallback`, or the whole data without that key; its path; and the mistakes outside it."""
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
    """Nested data as dicts with string keys and lists. Mistakes in keys and texts are appended to `lines`."""
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


def review(data: Mapping[str, object]) -> list[InitErrorDetails]:
    """All mistakes that involve more than one field."""
    return [*_endpoint_names(data), *_ids(data), *_unused_models(data), *_tiers(data), *_nothing(data)]


def _dict(data: Mapping[str, object], key: str) -> dict[str, object]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _endpoint_names(data: Mapping[str, object]) -> Iterator[InitErrorDetails]:
    for name in _dict(data, "endpoints"):
        if not ENDPOINT_NAME.fullmatch(name):
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
                text = f"found {show(id)} again, first at position {seen[id] + 1}; each model may be once in a chain."
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
            yield mistake(("tier_order", index), f"found {show(tier)} again; each tier may be once in the order.")
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
    misspelt = any(key not in sources and nearest(str(key), sources, VERY_CLOSE) for key in data)  # told as such
    if not misspelt and all(key not in data or data[key] in ({}, AUTO) for key in sources):
        text = "no models are given; allowed is at least one of `default_chain`, `task_chains` and `cost_tiers`."
        yield mistake((), text)
