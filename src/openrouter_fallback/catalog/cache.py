"""Caches an endpoint's list of models as a file in the user's cache directory.

A write renames a complete file into place, so that two processes may write at the same time. A file of another format,
an incomplete file or a file of another endpoint is ignored, and the next write replaces it.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

MAX_BYTES = 32 * 1024 * 1024
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Kept:
    """The contents of a file: the entries as decoded JSON, not validated, and the time of the fetch (epoch seconds)."""

    entries: object
    fetched: float


def load(url: str) -> Kept | None:
    """The cached list of this base URL; None without a valid file."""
    try:
        path = _path(url)
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
            return None
        held = orjson.loads(path.read_bytes())
    except (OSError, ValueError, RuntimeError):  # RuntimeError: there is no home directory
        return None
    if not isinstance(held, dict) or held.get("format") != _FORMAT or held.get("url") != url:
        return None
    fetched = held.get("fetched")
    if isinstance(fetched, bool) or not isinstance(fetched, int | float) or not math.isfinite(fetched):
        return None
    return Kept(held.get("models"), float(fetched))


def save(url: str, entries: Sequence[Mapping[str, Any]], fetched: float) -> None:
    """Write the entries of this base URL to the cache. Raises OSError if the directory is not writable."""
    path = _path(url)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    data = orjson.dumps({"format": _FORMAT, "url": url, "fetched": fetched, "models": entries})
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _path(url: str) -> Path:
    # A local import: importing the core must not import platformdirs, which only a catalog lookup needs.
    from platformdirs import user_cache_path

    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    return user_cache_path("openrouter-fallback", appauthor=False) / f"models-{name}.json"
