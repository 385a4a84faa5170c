"""The schema for editors agrees with the loader."""

from __future__ import annotations

import json
import subprocess
import sys

from openrouter_fallback.config.loading import config_schema
from openrouter_fallback.config.models import FallbackConfig
from openrouter_fallback.failures.kinds import FailureKind


def test_json_schema_describes_every_key() -> None:
    schema = config_schema()
    json.dumps(schema)
    inner = schema["properties"]["fallback"]
    assert schema["required"] == ["fallback"]
    assert list(inner["properties"]) == list(FallbackConfig.model_fields)
    parts = [inner, *(schema["$defs"][name] for name in ("Settings", "ModelConfig", "EndpointConfig"))]
    for part in parts:
        assert part["additionalProperties"] is False
        for name, field in part["properties"].items():
            assert field.get("description", "").endswith("."), name
    assert "id" not in schema["$defs"]["ModelConfig"]["properties"]
    assert "required" not in schema["$defs"]["ModelConfig"]
    assert schema["$defs"]["EndpointConfig"]["required"] == ["base_url"]
    assert "required" not in inner["properties"]["endpoints"]["properties"]["openrouter"]
    assert {tuple(one["required"]) for one in inner["anyOf"]} == {("default_chain",), ("task_chains",), ("cost_tiers",)}


def test_json_schema_agrees_with_the_loader() -> None:
    schema = config_schema()
    defs, inner = schema["$defs"], schema["properties"]["fallback"]["properties"]
    assert inner["default_chain"]["type"] == "array"
    assert inner["default_chain"]["minItems"] == 1
    assert inner["task_chains"]["additionalProperties"]["items"] == {"type": "string"}
    threshold = defs["Settings"]["properties"]["skip_threshold"]
    assert (threshold["type"], threshold["minimum"], threshold["maximum"], threshold["default"]) == (
        "number",
        0,
        1,
        0.3,
    )
    assert defs["Settings"]["properties"]["total_timeout_seconds"]["exclusiveMinimum"] == 0
    assert defs["Settings"]["properties"]["policy"]["enum"] == ["smart", "any_error"]
    kinds = defs["Settings"]["properties"]["on_failure"]["propertyNames"]["enum"]
    assert set(kinds) == {str(kind) for kind in FailureKind} - {"local", "cancelled"}
    assert defs["ModelConfig"]["properties"]["params"]["type"] == "object"


def test_import_reads_no_yaml() -> None:
    code = "import sys, openrouter_fallback.config; sys.exit('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
