"""An endpoint's list of models as a file in the user's cache directory.

A file is put in place whole, by a rename, so that two processes may write at once. What is not ours, not whole or not
of this endpoint is read as if it were not there, and the next write replaces it.
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
    """What a file holds: the entries, undecoded beyond JSON, and when they were fetched (epoch seconds)."""

    entries: object
    fetched: float


def load(url: str) -> Kept | None:
    """What was kept for this base URL; None if nothing, or nothing that can be used."""
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
    """Keep the entries for this base URL. Raises OSError where the directory cannot be written."""
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
    # Here, because an import of the core does without: it is needed only where a catalog is asked something.
    from platformdirs import user_cache_path

    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    return user_cache_path("openrouter-fallback", appauthor=False) / f"models-{name}.json"
