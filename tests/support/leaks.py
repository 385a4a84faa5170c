"""Searches everything that an object refers to for a secret: attributes, containers, causes, frames, coroutines."""

from __future__ import annotations

import functools
import gc
import types
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from openrouter_fallback.redaction import Secrets

MOST_OBJECTS = 300_000
_TESTS = str(Path(__file__).parents[1])
_CLOSED = (type, types.ModuleType, types.BuiltinFunctionType, types.CodeType, int, float, complex, type(None))


def leaks(roots: Iterable[object], secrets: Iterable[str]) -> list[str]:
    """The paths from `roots` to texts or bytes that contain a secret, as `root.attribute[key]`.

    Frames of the tests are skipped, because a test must hold the secret to search for it. Of an object that masks its
    value, only the masked form is searched.
    """
    texts = tuple(secrets)
    needles = tuple(text.encode() for text in texts)
    found: list[str] = []
    seen: set[int] = set()
    kept: list[object] = []  # temporary objects must stay alive, because ids of freed objects are reused
    pending: list[tuple[str, object]] = [(type(root).__name__, root) for root in roots]
    while pending:
        path, value = pending.pop()
        if isinstance(value, SecretStr | Secrets):
            value = f"{value!r} {value}"
        if isinstance(value, str):
            if any(text in value for text in texts):
                found.append(path)
        elif isinstance(value, bytes | bytearray):
            if any(needle in value for needle in needles):
                found.append(path)
        elif not isinstance(value, _CLOSED) and id(value) not in seen:
            seen.add(id(value))
            kept.append(value)
            if len(seen) > MOST_OBJECTS:
                raise AssertionError(f"more than {MOST_OBJECTS} objects, now at {path}")
            pending += [(f"{path}{step}", one) for step, one in _parts(value)]
    return found


def largest_collection(root: object) -> int:
    """The number of items in the largest collection that `root` refers to, over any number of objects between."""
    most = 0
    seen: set[int] = set()
    pending = [root]
    while pending:
        value = pending.pop()
        if id(value) in seen or isinstance(value, (*_CLOSED, types.FunctionType, types.FrameType)):
            continue
        seen.add(id(value))
        if len(seen) > MOST_OBJECTS:
            raise AssertionError(f"more than {MOST_OBJECTS} objects")
        if isinstance(value, Collection) and not isinstance(value, str | bytes | bytearray):
            most = max(most, len(value))
        pending += gc.get_referents(value)
    return most


def _parts(value: Any) -> Iterator[tuple[str, object]]:
    if isinstance(value, types.FrameType):
        if not value.f_code.co_filename.startswith(_TESTS):
            name = f"<{Path(value.f_code.co_filename).name}:{value.f_code.co_name}>"
            yield from ((f"{name}.{local}", one) for local, one in list(value.f_locals.items()))
        return
    if isinstance(value, types.TracebackType):
        yield ".tb_frame", value.tb_frame
        yield ".tb_next", value.tb_next
        return
    if type(value).__module__.startswith(("tests.", "_pytest", "pytest")):
        return
    if isinstance(value, Mapping):
        for key, one in list(value.items()):
            yield "(key)", key
            yield f"[{key!r:.30}]", one
    elif isinstance(value, list | tuple | set | frozenset) or type(value).__name__ in ("deque", "WeakSet"):
        yield from ((f"[{number}]", one) for number, one in enumerate(list(value)))
    if isinstance(value, BaseException):
        yield ".str", _safe(str, value)
        for name in ("args", "__cause__", "__context__", "__traceback__", "__notes__", "exceptions"):
            yield f".{name}", getattr(value, name, None)
    if isinstance(value, functools.partial):
        yield from ((f".{name}", getattr(value, name)) for name in ("func", "args", "keywords"))
    if isinstance(value, types.MethodType):
        yield ".__self__", value.__self__
    if isinstance(value, types.FunctionType):
        cells = () if value.__module__.startswith("tests.") else value.__closure__ or ()
        yield from ((".closure", _safe(getattr, cell, "cell_contents")) for cell in cells)
        return
    if isinstance(value, types.CoroutineType | types.GeneratorType | types.AsyncGeneratorType):
        yield from ((f".{name}", getattr(value, name, None)) for name in ("cr_frame", "gi_frame", "ag_frame"))
        return
    attributes = _safe(object.__getattribute__, value, "__dict__") or {}
    yield from ((f".{name}", one) for name, one in list(attributes.items()))
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            private = name.startswith("__") and not name.endswith("__")
            hidden = f"_{kind.__name__.lstrip('_')}{name}" if private else name
            yield f".{name}", _safe(object.__getattribute__, value, hidden)
    if not isinstance(value, Mapping | list | tuple | set | frozenset | dict):  # their items are searched separately
        yield ".repr", _safe(repr, value)


def _safe(function: Any, *args: Any) -> Any:
    try:
        return function(*args)
    except Exception:
        return None
