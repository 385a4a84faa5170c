"""Mistakes in a configuration: collected as values, reported in one `ConfigError`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from ..errors import ConfigError
from ..redaction import without_keys
from ..source import Mistake, Path, Source, quote
from ..suggest import did_you_mean, meant

SHOWN = 10  # mistakes listed in one error
WIDTH = 60  # characters of a found value
MASK = "'***'"

# Keys of an endpoint whose values may be shown. All other values may be or contain an API key.
_SHOWN_OF_ENDPOINT = {"base_url", "stream_upstream"}
_SECRET_NAME = re.compile(r"api_?key|authorization|headers|password|secret|token$", re.IGNORECASE)

_KIND = {"bool": "a boolean", "int": "a number", "float": "a number", "date": "a date", "datetime": "a date"}

# The allowed value, by pydantic's error type.
_ALLOWED = {
    "string_type": "a string",
    "string_unicode": "a string of valid Unicode",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number of reasonable size",
    "float_type": "a number",
    "bool_type": "true or false",
    "finite_number": "a finite number",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number not below {ge:g}",
    "less_than_equal": "a number not above {le:g}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "tuple_type": "a list, as in [a, b]",
    "dict_type": "a mapping of keys to values",
    "mapping_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}
_TYPE_ERRORS = {"int_type", "float_type", "string_type", "bool_type"}


class Place(NamedTuple):
    """The schema's data on a path: the keys allowed beside it, and the description of its own key."""

    known: Sequence[str]
    meaning: str


def mistake(path: Path, text: str) -> InitErrorDetails:
    """A mistake as a line of a pydantic error, to join with pydantic's own lines."""
    return InitErrorDetails(type=PydanticCustomError("config", "{text}", {"text": text}), loc=path, input=None)


def refuse(text: str) -> PydanticCustomError:
    """The error for a mistake, to raise inside a validator of a field."""
    return PydanticCustomError("config", "{text}", {"text": text})


def again(error: ValidationError, skip: Callable[[Path], bool]) -> list[InitErrorDetails]:
    """The lines of an error, to raise again together with other lines. `skip` filters by path."""
    return [
        mistake(one["loc"], one["ctx"]["text"])
        if one["type"] == "config"
        else InitErrorDetails(type=one["type"], loc=one["loc"], input=one["input"], ctx=one.get("ctx", {}))
        for one in error.errors(include_url=False)
        if not skip(one["loc"])
    ]


def listed(options: Iterable[object], limit: int = 20) -> str:
    """The options in one line."""
    names = [str(option) for option in options]
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def show(value: object, path: Path = (), text: str | None = None) -> str:
    """A found value in at most 60 characters, without possible API keys and without the contents of containers."""
    if value is None and text in (None, "", "~", "null"):
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if _is_secret(path):
        return MASK
    shown = text if text is not None else _bounded_repr(value)
    shown = without_keys(shown)
    return shown if len(shown) <= WIDTH else shown[: WIDTH - 3] + "..."


def _bounded_repr(value: object) -> str:
    if isinstance(value, str):
        return repr(without_keys(value[:200]))
    if isinstance(value, int) and abs(value) >= 10**WIDTH:
        return "a very large number"
    if isinstance(value, bool | int | float):
        return repr(value)
    return f"an object of type {type(value).__name__}" if type(value).__name__ not in _KIND else repr(str(value))


def _is_secret(path: Path) -> bool:
    names = [name for name in path if isinstance(name, str)]
    if "endpoints" in names[:2] and (not names[-1:] or names[-1] not in _SHOWN_OF_ENDPOINT):
        return True
    return any(_SECRET_NAME.search(name) for name in names)


def where(path: Path) -> str:
    """The path as text, such as `fallback.models['openai/gpt-5.1'].timeout`."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
        elif re.fullmatch(r"[\w-]{1,60}", part):
            out += f".{part}" if out else part
        else:
            out += f"[{show(part)}]"
    return without_keys(out)


def explain(
    error: ValidationError, place: Callable[[Path], Place], texts: Mapping[Path, str], prefix: Path = ()
) -> list[Mistake]:
    """Pydantic's errors as sentences: the found value, the allowed values, what to do."""
    errors: list[dict[str, Any]] = [dict(one) for one in error.errors(include_url=False)]
    unknown = [one["loc"] for one in errors if one["type"] == "extra_forbidden"]
    return [
        _explain(one, place, texts, prefix)
        for one in errors
        if not (one["type"] == "missing" and any(_means(loc, one["loc"]) for loc in unknown))
    ]


def _means(unknown: Path, missing: Path) -> bool:
    return unknown[:-1] == missing[:-1] and bool(did_you_mean(str(unknown[-1]), [str(missing[-1])]))


def _explain(error: dict[str, Any], place: Callable[[Path], Place], texts: Mapping[Path, str], prefix: Path) -> Mistake:
    kind: str = error["type"]
    loc: Path = error["loc"]
    if loc and loc[-1] == "[key]":
        loc = loc[:-1]
    path = (*prefix, *loc)
    context: dict[str, Any] = error.get("ctx", {})
    if kind == "config":
        return Mistake(path, str(context["text"]))
    known, meaning = place(loc)
    if kind == "extra_forbidden":
        named = meant("settings", str(loc[-1])) if loc[:-1] == ("settings",) else None
        hint = did_you_mean(str(loc[-1]), known) if named is None else f" Here it is {named}."
        return Mistake(path, f"unknown key.{hint} Known here: {listed(known)}.")
    if kind == "missing":
        return Mistake(path, f"is missing. {meaning}".rstrip())
    value, text = error["input"], texts.get(path)
    allowed = _ALLOWED.get(kind, "").format(**context) or str(error["msg"])
    aside = "" if _is_secret(path) else _aside(kind, value, text)
    said = f"found {show(value, path, text)}{aside}; allowed is {allowed}."
    return Mistake(path, f"{said}{_advice(kind, value, context)} {meaning}".rstrip())


def _aside(kind: str, value: object, text: str | None) -> str:
    name = _KIND.get(type(value).__name__)
    if kind == "string_type" and name and text is not None:
        return f", which YAML reads as {name}: quote it, {quote(text)}"
    if kind in _TYPE_ERRORS and value is not None and not isinstance(value, Mapping | list | tuple):
        return f" ({name or 'a string'})" if name or isinstance(value, str) else ""
    return ""


def _advice(kind: str, value: object, context: Mapping[str, Any]) -> str:
    if kind in ("literal_error", "enum") and isinstance(value, str):
        return did_you_mean(value, re.findall(r"'([^']*)'", str(context["expected"])))
    if kind == "tuple_type" and isinstance(value, str):
        return " One entry is a list too, in brackets."
    if kind in ("int_type", "float_type") and isinstance(value, str) and re.fullmatch(r"[\d.eE+-]+", value):
        return " Write the number in plain digits and without quotes."
    return ""


def report(source: Source, mistakes: Sequence[Mistake]) -> ConfigError:
    """All mistakes as one error, in the order of the file."""
    unique = list(dict.fromkeys(mistakes))
    found = sorted(((source.line(one.path) or 0, one) for one in unique), key=lambda pair: pair[0])
    told = [
        ", ".join(part for part in (f"line {line}" if line else "", where(one.path)) if part) + f": {one.text}"
        for line, one in found
    ]
    if len(told) == 1:
        error = ConfigError(f"{source.name}{'' if told[0].startswith(':') else ', '}{told[0]}")
    else:
        more = [f"and {len(told) - SHOWN} more"] if len(told) > SHOWN else []
        error = ConfigError("\n  - ".join([f"{source.name} has {len(told)} mistakes:", *told[:SHOWN], *more]))
    error.mistakes = tuple((source.name, line or None, where(one.path), one.text) for line, one in found)
    return error
