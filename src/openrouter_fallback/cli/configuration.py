"""The configuration of a command: where it is found, which part of it is used, and where in it something stands."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..yaml_reader import read_yaml
from .options import CONFIG_ENV, CONFIG_FILE
from .output.terminal import say

if TYPE_CHECKING:
    from .. import FallbackConfig
    from .analysis.audit import Finding

_BARE = re.compile(r"[\w-]+")
_ABOUT = re.compile(r"(?:key|models) of (.+)")
HEALTH_STORE = "health store"
"""What a finding about `settings.health_store` is about."""

Place = tuple[str | int, ...]


def find(given: Path | None) -> Path | None:
    """The configuration of every command, and a line on stderr that names it.

    The first that is there: `--config`, the environment variable, the file in the working directory. None without any.
    """
    from_environment = os.environ.get(CONFIG_ENV)
    if given is not None:
        found, by = given, "as given"
    elif from_environment:
        found, by = Path(from_environment), CONFIG_ENV
    elif CONFIG_FILE.is_file():
        found, by = CONFIG_FILE, "in this directory"
    else:
        return None
    say(f"Configuration: {found} ({by})", "dim")
    return found


def there() -> bool:
    """Whether there is one that need not be named."""
    return bool(os.environ.get(CONFIG_ENV)) or CONFIG_FILE.is_file()


def narrowed(config: Path | None, models: Sequence[str] | None) -> FallbackConfig | None:
    """The configuration; with `models` these stand in for its chains. None without both."""
    from .. import FallbackConfig, load_config

    whole = load_config(config) if config is not None else None
    if not models:
        return whole
    if whole is None:
        return FallbackConfig(default_chain=models)
    own = {id: one for id, one in whole.models.items() if id in models}
    return FallbackConfig(default_chain=models, models=own, endpoints=whole.endpoints, settings=whole.settings)


def located(findings: Sequence[Finding], config: Path | None) -> tuple[Finding, ...]:
    """The findings with the file, the line and the key that they are about, as far as the file holds it."""
    from .. import ConfigError

    if config is None or not findings:
        return tuple(findings)
    source = read_yaml(config, ConfigError, purpose="configuration")
    wrapped = isinstance(source.data, Mapping) and "fallback" in source.data
    places: dict[str, Place] = {}
    for place, name in _names(source.data, ()):
        places.setdefault(name, place)

    def place_of(about: str) -> Place:
        if about == HEALTH_STORE:
            return (*(("fallback",) if wrapped else ()), "settings", "health_store")
        of_endpoint = _ABOUT.fullmatch(about)
        name = of_endpoint[1] if of_endpoint else about
        return places.get(name, ("fallback",) if wrapped else ())

    return tuple(
        replace(one, file=str(config), line=source.line(place_of(one.about)), key=_written(place_of(one.about)))
        for one in findings
    )


def _names(data: object, place: Place) -> Iterator[tuple[Place, str]]:
    """Each string and each key of the file with its place, in the order of the file."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield (*place, key), key
            yield from _names(value, (*place, key))
    elif isinstance(data, list):
        for position, value in enumerate(data):
            yield from _names(value, (*place, position))
    elif isinstance(data, str):
        yield place, data


def _written(place: Place) -> str:
    """`fallback.task_chains.coding[0]`"""
    written = ""
    for part in place:
        if isinstance(part, int):
            written += f"[{part}]"
        elif _BARE.fullmatch(part):
            written += f".{part}" if written else part
        else:
            written += f"['{part}']"
    return written
