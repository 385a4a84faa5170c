"""The body of a request: read within size and time limits, parsed, and checked before a model is called."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import orjson

from .. import FallbackClient
from .errors import Refused
from .options import Bounds

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

MAX_CHOICES = 128
_LINGER_SECONDS = 5.0

# Arguments of the client's methods. A request's field with such a name is not an argument: it is sent upstream.
_OWN = frozenset(inspect.signature(FallbackClient.astream).parameters) | {"extra_body"}
_HANDLED = frozenset({"model", "models", "messages", "stream", "stream_options"})
_NUMBER = (int, float)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "frequency_penalty": _NUMBER,
    "logit_bias": (dict,),
    "logprobs": (bool,),
    "max_completion_tokens": (int,),
    "max_tokens": (int,),
    "messages": (list,),
    "metadata": (dict,),
    "model": (str,),
    "models": (list,),
    "n": (int,),
    "parallel_tool_calls": (bool,),
    "presence_penalty": _NUMBER,
    "provider": (dict,),
    "reasoning": (dict,),
    "response_format": (dict,),
    "seed": (int,),
    "stop": (str, list),
    "stream": (bool,),
    "stream_options": (dict,),
    "temperature": _NUMBER,
    "tool_choice": (str, dict),
    "tools": (list,),
    "top_logprobs": (int,),
    "top_p": _NUMBER,
    "user": (str,),
}
_NAMES = {bool: "a boolean", dict: "an object", float: "a number", int: "an integer", list: "an array", str: "a string"}


class Gone(Exception):
    """The client disconnected before the request or the response was complete."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A checked request. `params` are passed on to the client. `wants_usage`: the stream's last chunk has the usage."""

    model: str
    models: tuple[str, ...]
    messages: list[Any]
    stream: bool
    wants_usage: bool
    params: Mapping[str, Any]


async def read(headers: Mapping[bytes, bytes], receive: Receive, bounds: Bounds) -> bytes:
    """The body. Raises `Refused` (413) if it is too large, `Refused` (408) if it arrives too slowly, or `Gone`."""
    if int(headers.get(b"content-length", b"0")) > bounds.body_bytes:
        raise _too_large(bounds)
    body = bytearray()
    try:
        async with asyncio.timeout(bounds.body_seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise Gone
                body += message.get("body", b"")
                if len(body) > bounds.body_bytes:
                    raise _too_large(bounds)
                if not message.get("more_body"):
                    return bytes(body)
    except TimeoutError:
        raise Refused(
            408, f"The body did not come within {bounds.body_seconds:g} s.", code="request_timeout", close=True
        ) from None


async def discard(receive: Receive, bounds: Bounds) -> None:
    """Read the rest of a refused body for a limited time. A client that is still sending would not see the answer."""
    try:
        async with asyncio.timeout(min(_LINGER_SECONDS, bounds.body_seconds)):
            while (message := await receive())["type"] == "http.request" and message.get("more_body"):
                pass
    except TimeoutError:
        pass


def parse(headers: Mapping[bytes, bytes], body: bytes) -> ChatRequest:
    """The request in a body. Raises `Refused` (400 for an invalid body, 415 for another content type)."""
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != b"application/json":
        raise Refused(415, "The body must be JSON: send Content-Type: application/json.", code="unsupported_media_type")
    if b"content-encoding" in headers:
        raise Refused(415, "A compressed body is not read; send it without Content-Encoding.", code="content_encoding")
    try:
        fields = orjson.loads(body)
    except ValueError:
        raise Refused(400, "The body is not JSON.", code="invalid_json") from None
    if not isinstance(fields, dict):
        raise Refused(400, "The body must be a JSON object.", code="invalid_json")
    return _checked({key: value for key, value in fields.items() if value is not None})


def _checked(fields: dict[str, Any]) -> ChatRequest:
    for name, value in fields.items():
        types = _TYPES.get(name)
        if types is not None and not _is(value, types):
            raise _wrong(name, " or ".join(_NAMES[one] for one in types if one is not int or float not in types))
    for name in ("model", "messages"):
        if not fields.get(name):
            raise Refused(400, f"{name} is missing or empty.", code="missing_required_parameter", param=name)
    for position, message in enumerate(fields["messages"]):
        where = f"messages[{position}]"
        if not isinstance(message, dict):
            raise _wrong(where, "an object")
        if not isinstance(message.get("role"), str) or not message["role"]:
            raise _wrong(f"{where}.role", "a string")
        if not isinstance(message.get("content"), str | list | None):
            raise _wrong(f"{where}.content", "a string or an array")
    for name in ("models", "tools"):
        inner = str if name == "models" else dict
        for position, value in enumerate(fields.get(name, ())):
            if not isinstance(value, inner):
                raise _wrong(f"{name}[{position}]", _NAMES[inner])
    if not 1 <= fields.get("n", 1) <= MAX_CHOICES:
        raise Refused(400, f"n must be from 1 to {MAX_CHOICES}.", code="invalid_value", param="n")
    params: dict[str, Any] = {k: v for k, v in fields.items() if k not in _HANDLED and k not in _OWN}
    as_it_is = {k: v for k, v in fields.items() if k not in _HANDLED and k in _OWN}
    if as_it_is:
        params["extra_body"] = as_it_is
    return ChatRequest(
        model=fields["model"],
        models=tuple(fields.get("models", ())),
        messages=fields["messages"],
        stream=fields.get("stream", False),
        wants_usage=fields.get("stream_options", {}).get("include_usage") is True,
        params=params,
    )


def _is(value: object, types: tuple[type, ...]) -> bool:
    return isinstance(value, types) and (not isinstance(value, bool) or bool in types)


def _wrong(name: str, wanted: str) -> Refused:
    return Refused(400, f"{name} must be {wanted}.", code="invalid_type", param=name)


def _too_large(bounds: Bounds) -> Refused:
    return Refused(413, f"The body is larger than {bounds.body_bytes} bytes.", code="request_too_large", close=True)
