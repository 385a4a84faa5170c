"""`configuration.md`: every key of the YAML file, from the models that read it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from openrouter_fallback import (
    FallbackConfig,
    HedgeConfig,
    ModelConfig,
    Settings,
    SpendLimit,
    config_schema,
    load_config,
)
from openrouter_fallback.config.fields import OVERRIDABLE, Frozen
from openrouter_fallback.config.models import DEFAULT_KEY_ENV, EndpointConfig
from openrouter_fallback.config.resolve import API_BASE_ENV, BASE_URL_ENV, CONFIG_ENV
from openrouter_fallback.health.shared.redis import PASSWORD_ENV

Json = dict[str, Any]

SECTIONS: Final[tuple[tuple[str, str, str, type[Frozen]], ...]] = (
    ("Chains and choices", "fallback", "fallback", FallbackConfig),
    ("One model", "fallback.models.<id>", "models", ModelConfig),
    ("Another server", "fallback.endpoints.<name>", "endpoints", EndpointConfig),
    ("Settings", "fallback.settings", "settings", Settings),
    ("Hedging", "fallback.settings.hedge", "hedge", HedgeConfig),
    ("Spend limits", "fallback.settings.spend_limit_usd", "spend_limit_usd", SpendLimit),
)
ENVIRONMENT: Final = {
    DEFAULT_KEY_ENV: "OpenRouter's key, unless `api_key=` or `endpoints.openrouter` sets it",
    BASE_URL_ENV: "OpenRouter's URL, unless `base_url=` or `endpoints.openrouter.base_url` sets it",
    API_BASE_ENV: f"the same if `{BASE_URL_ENV}` is not set: other integrations of OpenRouter read this name",
    CONFIG_ENV: "the configuration file of a client that is given neither `models` nor `config`",
    PASSWORD_ENV: "the password of the Redis server in `health_store`",
}

EXAMPLE: Final = """\
fallback:
  default_chain: [anthropic/claude-sonnet-4.5, openai/gpt-5.1, groq:llama-3.3-70b-versatile]
  task_chains:
    fast: [anthropic/claude-haiku-4.5, openai/gpt-5-mini]
  models:
    openai/gpt-5.1: {timeout: 20, params: {temperature: 0.2}}
  endpoints:
    groq: {base_url: "https://api.groq.com/openai/v1", api_key_env: GROQ_API_KEY}
  settings:
    total_timeout_seconds: 120
    hedge: {after: p95}
    spend_limit_usd: {per_day: 20}
"""

_HEAD: Final = f"""# Configuration

A configuration is a YAML file, a mapping, or an object of the class `FallbackConfig`
([reference](reference/configuration.md)). One of `default_chain`, `task_chains` and `cost_tiers` is needed. Everything
else has a default. This page is made from the classes that read the file. A test fails when it is stale.

```yaml
{EXAMPLE}```

```python
from openrouter_fallback import FallbackClient

client = FallbackClient.from_config("fallback.yaml", task="fast")
print(client.route().candidates)
```

```text
('anthropic/claude-haiku-4.5', 'openai/gpt-5-mini')
```

`openrouter-fallback init` writes a file with models that exist today. `openrouter-fallback check` finds the mistakes of
a file. All mistakes are reported together, each with file, line, key, what was found and what is allowed.

- The outer key `fallback` is optional. A file with only `default_chain`, `task_chains` and `max_retries_per_model`,
  `disable_duration_seconds`, `health_window_minutes`, `skip_threshold` is complete. Keys have no other spellings.
- Environment variables in the file are not expanded. Name the variable that holds a secret (`api_key_env`).
- For completion in an editor:
  `openrouter-fallback schema > schema.json` (in Python `openrouter_fallback.config_schema()`),
  and as the first line of the YAML file `# yaml-language-server: $schema=schema.json`.
"""

_LEVELS: Final = """\
### Which models a call may use

You can set `task`, `models`, `max_cost_tier`, `primary_provider` and `max_price` in four places. The first of these
that sets one of them decides it:

1. An argument of the call: `client.chat("...", task="fast")`.
2. The context: `with routing(task="fast"): ...`. An inner context comes before an outer one.
3. The client's own routing: `client.with_options(task="fast")`, `from_config(..., task="fast")`, the constructor of a
   LangChain or LlamaIndex model.
4. The configuration: `default_chain`.

- `task` and `models` both choose the chain, so the earlier place replaces the other: `chat("...", task="fast")` uses
  the chain `fast`, even if the context or the copy has `models`. In the same place, `models` comes first.
- `max_cost_tier`, `primary_provider` and `max_price` apply in addition, each from the earliest place that sets it: a
  call with a `task` stays below the copy's `max_cost_tier` and `max_price`.
- The routing is fixed when the call is made. A stream that is read outside of `with routing(...)` keeps it. A coroutine
  (`achat`) is made when it is awaited or becomes a task.
- An unknown task, and a provider of which the chain has no model, are logged once as a warning."""

_NOTES: Final[Mapping[str, str]] = {
    "fallback": _LEVELS,
    "models": 'In Python you can also put them into the chain: `ModelConfig("openai/gpt-5.1", timeout=20)`.',
    "endpoints": f"`openrouter` is always there, with the key in `{DEFAULT_KEY_ENV}`; name it here to change it.",
    "settings": "`settings=` together with `config=` changes only the keys that it names, in the client, in\n"
    'LangChain and in LlamaIndex: `FallbackClient(config=..., settings={"policy": "any_error"})`. A\n'
    "configuration object has `config.with_settings({...})`.\n\n"
    f"Keys of `on_failure`: {', '.join(f'`{kind}`' for kind in OVERRIDABLE)} ([Failures](failures.md)).",
}


def made() -> dict[str, str]:
    """The text of the page, by its name."""
    load_config(_parsed(EXAMPLE))
    parts = [_HEAD, *(_section(*section) for section in SECTIONS), _environment()]
    return {"configuration.md": "\n".join(parts)}


def _parsed(text: str) -> Json:
    import yaml

    loaded: Json = yaml.safe_load(text)
    return loaded


def _section(title: str, path: str, name: str, model: type[Frozen]) -> str:
    doc = (model.__doc__ or "").split("\n\n")[0].strip()
    told = " ".join(line.strip() for line in doc.splitlines())
    rows = ["| key | allowed | default | what it does |", "|---|---|---|---|"]
    rows += [_row(name, key, field, schema) for key, field, schema in _fields(model)]
    lines = [f"## {title}\n", f"Below `{path}`. {told}\n", *rows, ""]
    if name in _NOTES:
        lines += [_NOTES[name], ""]
    return "\n".join(lines)


def _fields(model: type[Frozen]) -> Iterator[tuple[str, FieldInfo, Json]]:
    whole = config_schema()
    inner = whole["properties"]["fallback"] if model is FallbackConfig else whole["$defs"][model.__name__]
    for key, field in model.model_fields.items():
        if model is ModelConfig and key == "id":  # the id is the key of the mapping
            continue
        yield key, field, inner["properties"][key]


def _row(section: str, key: str, field: FieldInfo, schema: Json) -> str:
    if not field.description:
        raise SystemExit(f"config.py: the field {key} has no description")
    cells = (f'<a id="{section}-{key}"></a>`{key}`', _allowed(schema), _default(field), field.description)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or value is None or value in ((), {}) or isinstance(value, Frozen):
        return ""
    return f"`{f'{value:g}' if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)}`"


_NAMED: Final = {
    "ModelConfig": "[one model](#one-model)",
    "EndpointConfig": "[another server](#another-server)",
    "Settings": "[settings](#settings)",
    "HedgeConfig": "[hedging](#hedging)",
    "SpendLimit": "[spend limits](#spend-limits)",
}


def _allowed(schema: Json) -> str:
    """The allowed values of a key in words, from its JSON Schema."""
    if "$ref" in schema:
        return _NAMED[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        found = [_allowed(one) for one in schema["anyOf"] if one.get("type") != "null"]
        if len(found) < len(schema["anyOf"]) and schema.get("default") is not None:
            found.append("`null`")
        return ", or ".join(dict.fromkeys(found))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{one}`" for one in schema["enum"])
    if schema.get("pattern", "").startswith("^(memory"):
        return "`memory` or a URL: `redis://`, `rediss://`, `unix://`"
    match schema.get("type"):
        case "array":
            return f"a list of {_plural(_allowed(schema['items']))}"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return f"for each name {_allowed(schema['additionalProperties'])}"
        case "object":
            return "a mapping"
        case "boolean":
            return "`true` or `false`"
        case "integer" | "number" as kind:
            return _number("a whole number" if kind == "integer" else "a number", schema)
        case ["number", "string"]:
            return _number("a number", schema)
    return "text"


def _plural(words: str) -> str:
    return {"text": "names"}.get(words, words)


def _number(words: str, schema: Json) -> str:
    low, above, high = schema.get("minimum"), schema.get("exclusiveMinimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{words} from {low:g} to {high:g}"
    if above is not None:
        return f"{words} above {above:g}"
    return words if low is None else f"{words}, {low:g} or more"


def _environment() -> str:
    rows = ["## Environment\n", "| variable | what it holds |", "|---|---|"]
    return "\n".join([*rows, *(f"| `{name}` | {what} |" for name, what in ENVIRONMENT.items()), ""])
