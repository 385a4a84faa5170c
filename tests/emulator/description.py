"""The published API description, and what checks requests and answers against it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
import yaml
from openapi_core import OpenAPI
from openapi_core.testing import MockRequest, MockResponse
from openapi_schema_validator import OAS31Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from .helpers import SHARED

FILE = SHARED / "openapi-subset.yaml"
needs_description = pytest.mark.skipif(
    not FILE.is_file(), reason="no API description beside the repository (shared/openrouter)"
)
HOST = "https://openrouter.ai"


@cache
def _read() -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, Any] = yaml.load(FILE.read_text(encoding="utf-8"), loader)
    return found


@cache
def _api() -> OpenAPI:
    return OpenAPI.from_dict(_read())


@cache
def _schema(name: str) -> OAS31Validator:
    resource = Resource.from_contents(_read(), DRAFT202012)
    registry: Registry[Any] = Registry().with_resource("urn:api", resource)
    return OAS31Validator({"$ref": f"urn:api#/components/schemas/{name}"}, registry=registry)


def check_request(body: Any) -> None:
    """Raise for a chat request that is not what the description says."""
    _api().validate_request(_chat_request(body))


def check_response(request: httpx2.Request, response: httpx2.Response) -> None:
    """Raise for an answer or an error that is not what the description says."""
    path = urlsplit(str(request.url))
    asked = MockRequest(
        HOST,
        request.method.lower(),
        path.path,
        args=dict(request.url.params.items()),
        data=request.content,
        content_type="application/json",
    )
    _api().validate_response(asked, _mock(response.content, response.status_code, response.headers))


def check_chunk(chunk: Mapping[str, Any]) -> None:
    """Raise for a chunk of a stream that is not what the description says."""
    _schema("ChatStreamChunk").validate(chunk)


def _chat_request(body: Any) -> MockRequest:
    data = json.dumps(body).encode()
    return MockRequest(HOST, "post", "/api/v1/chat/completions", data=data, content_type="application/json")


def _mock(data: bytes, status: int, headers: Mapping[str, str]) -> MockResponse:
    media_type = headers["content-type"].partition(";")[0]
    return MockResponse(data, status_code=status, content_type=media_type)
