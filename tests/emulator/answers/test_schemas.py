"""Whatever the schema, the arguments of a tool and the JSON of an answer fit it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_schema_validator import OAS31Validator

from openrouter_fallback.emulator.answers.tools import instance

PROMPTS = st.sampled_from(["", "Send 3.7 to 'Oslo'", 'There are -12 of "x y" and 5', "naïve 日本語 “große” 1e3"])
NAMES = st.sampled_from(["city", "n", "größe", "a b"])


@st.composite
def bounded(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    least = draw(st.integers(-50, 50))
    schema: dict[str, Any] = {"type": kind}
    below, above = draw(st.sampled_from([("minimum", "maximum"), ("exclusiveMinimum", "exclusiveMaximum")]))
    if draw(st.booleans()):
        schema[below] = least - draw(st.sampled_from([0, 0.5]))
    if draw(st.booleans()):
        schema[above] = least + draw(st.sampled_from([2, 2.5] if kind == "integer" else [0.5, 2]))
    return schema


@st.composite
def strings(draw: st.DrawFn) -> dict[str, Any]:
    least = draw(st.integers(0, 8))
    lengths = {"minLength": least, "maxLength": least + draw(st.integers(0, 3))}
    return {"type": "string", **(lengths if draw(st.booleans()) else {})}


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    properties = draw(st.dictionaries(NAMES, inner, max_size=4))
    required = draw(st.lists(st.sampled_from(sorted(properties)), unique=True)) if properties else []
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


SIMPLE = (
    bounded("integer")
    | bounded("number")
    | strings()
    | st.sampled_from(
        [
            {"type": "boolean"},
            {"type": "null"},
            {"enum": ["b", 2, None]},
            {"const": {"a": [1]}},
            {"type": ["null", "string"]},
            {"type": ["integer", "null"]},
            {"$ref": "#/$defs/point"},
            {},
        ]
    )
)
SCHEMAS = st.recursive(
    SIMPLE,
    lambda inner: (
        objects(inner)
        | st.builds(lambda items, least: {"type": "array", "items": items, "minItems": least}, inner, st.integers(0, 2))
        | st.builds(lambda *items: {"type": "array", "prefixItems": list(items)}, inner, inner)
        | st.builds(lambda one, other: {"anyOf": [one, other]}, inner, inner)
        | st.builds(lambda one, other: {"allOf": [one, other]}, objects(SIMPLE), st.just({"$ref": "#/$defs/point"}))
    ),
    max_leaves=8,
)
POINT = {"type": "object", "properties": {"x": {"type": "number"}, "next": {"$ref": "#/$defs/leaf"}}, "required": ["x"]}
LEAF = {"type": "object", "properties": {"name": {"type": "string"}}}


@settings(max_examples=300)
@given(bounded("integer") | bounded("number") | SCHEMAS, PROMPTS)
def test_what_is_made_fits(schema: dict[str, Any], prompt: str) -> None:
    if "allOf" in json.dumps(schema):
        schema = json.loads(json.dumps(schema).replace('"additionalProperties": false', '"additionalProperties": true'))
    whole = {**schema, "$defs": {"point": POINT, "leaf": LEAF}}
    made = instance(whole, prompt)
    OAS31Validator(whole).validate(json.loads(json.dumps(made)))


@pytest.mark.parametrize(
    ("schema", "prompt", "made"),
    [
        ({"type": "integer"}, "Add 3 and 4", 3),
        ({"type": "string"}, "Greet 'Ann'", "Ann"),
        ({"type": "string"}, "Greet", "x"),
        ({"type": "object"}, "Go", {}),
        ({"type": "string", "format": "date"}, "When?", "2026-01-01"),
    ],
)
def test_it_is_taken_from_the_prompt(schema: dict[str, Any], prompt: str, made: Any) -> None:
    assert instance(schema, prompt) == made
