"""Reads a configuration from YAML or a mapping, and gives its JSON Schema."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ..errors import ConfigError
from ..redaction import without_keys
from ..sealed import bare
from ..source import Source
from .checks import unwrap
from .fields import AUTO
from .model_ids import OPENROUTER
from .models import FallbackConfig, without
from .problems import explain, report, show


def load_config(source: str | os.PathLike[str] | Mapping[str, Any]) -> FallbackConfig:
    """Read the configuration from a YAML file or a mapping, with or without the outer key `fallback`.

    Environment variables are not expanded. Raises `ConfigError`, which names file, line and key of every mistake.
    """
    outer = sys.exception()
    try:
        return _load(_source(source))
    except ConfigError as error:
        del source
        raise bare(error, outer)  # noqa: B904 - the same error


def _source(source: str | os.PathLike[str] | Mapping[str, Any]) -> Source:
    if isinstance(source, Mapping):
        return Source("<mapping>", source)
    if isinstance(source, str | os.PathLike) and "\n" not in str(source):
        return _read(source)
    found = "a text of several lines" if isinstance(source, str) else type(source).__name__
    raise ConfigError(f"load_config takes the path of a YAML file or a mapping; found {found}.")


def _read(path: str | os.PathLike[str]) -> Source:
    from ..yaml_reader import read_yaml

    read = read_yaml(path, ConfigError, purpose="configuration", show=show, mask=without_keys)
    if read.data is None:
        raise ConfigError(f"{read.name} is empty; it must hold a mapping with the key `fallback`.")
    if not isinstance(read.data, Mapping):
        found = "a list" if isinstance(read.data, list) else "a single value"
        raise ConfigError(
            f"{read.name}, line {read.line(())}: found {found}; allowed is a mapping with the key `fallback`."
        )
    return read


def _load(source: Source) -> FallbackConfig:
    inner, prefix, found = unwrap(source, FallbackConfig.model_fields)
    if isinstance(inner, Mapping):
        try:
            config = FallbackConfig.model_validate(inner)
        except ValidationError as error:
            found += explain(error, FallbackConfig._place, source.texts, prefix)
        else:
            if not found and not source.mistakes:
                return config
    told = {one.path for one in source.mistakes}
    raise report(source, [*source.mistakes, *(one for one in found if one.path not in told)])


def config_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the YAML file, for editors."""
    inner = FallbackConfig.model_json_schema()
    definitions = inner.pop("$defs")
    for definition in (inner, *definitions.values()):
        definition.pop("description", None)
    model, endpoint = definitions["ModelConfig"], definitions["EndpointConfig"]
    del model["properties"]["id"], model["required"]
    inner["properties"]["endpoints"]["properties"] = {OPENROUTER: without(endpoint, "required")}
    inner["anyOf"] = [{"required": [key]} for key in ("default_chain", "task_chains", "cost_tiers")]
    inner["anyOf"][-1]["properties"] = {"cost_tiers": {"not": {"const": AUTO}}}  # `auto` names no models
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "openrouter-fallback",
        "type": "object",
        "properties": {"fallback": inner},
        "required": ["fallback"],
        "additionalProperties": False,
        "$defs": definitions,
    }
