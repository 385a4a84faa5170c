"""The shapes of errors: turns an error of any server, proxy or gateway into one `Report`. Bounded; never raises.

| shape | sent by |
|---|---|
| `{"error": {"code", "message", "metadata"}}` | OpenRouter, OpenAI and most others |
| `{"error": "..."}`, `{"error": "...", "code": "..."}` | Ollama, TGI, xAI |
| `{"code", "message"}`, `{"object": "error", ...}` | SGLang, SiliconFlow, Cohere |
| `{"type": "error", "error": {...}}` | Anthropic |
| `[{"error": {"code", "status", "details": [...]}}]` | Google |
| `{"detail": "..."}`, `{"detail": [{"loc", "msg"}]}`, `{"message": {"detail": [...]}}` | FastAPI, Mistral |
| `{"errors": [{"code", "message"}]}` | Cloudflare, GraphQL |
| `{"__type", "message"}`, `{"throttlingException": {"message"}}` | Bedrock |
| `{"base_resp": {"status_code", "status_msg"}}`, `{"error_code", "error_msg"}` | MiniMax, ERNIE |
| JSON inside `metadata.raw`, inside `message` or after other words, encoded once or twice | gateways |
| HTML, plain text | Cloudflare, nginx, load balancers, envoy |
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import orjson

MAX_READ: Final = 4_000  # only so many characters of a text are read
MAX_BODY: Final = 1 << 20
_MAX_DEPTH: Final = 6
_MAX_ITEMS: Final = 3
_MOST_FIELDS: Final = 64
_MAX_EMBEDDED: Final = 64_000

_INSIDE: Final = ("error", "errors", "detail", "Error", "err", "fault", "base_resp", "exception")
_WRAPPERS: Final = ("response", "data", "result", "body", "output", "meta")
"""Where an error stands in what is wrapped once more: an envelope of gateways, an event of the Responses API."""
_TEXTS: Final = (
    "message",
    "Message",
    "detail",
    "msg",
    "error_message",
    "errorMessage",
    "error_msg",
    "status_msg",
    "error",
    "errors",
    "faultstring",
    "error_description",
    "title",
    "description",
    "exc_message",
    "exception",
    "text",
    "details",
    "reason",
)
_STATUSES: Final = ("code", "http_status", "status", "status_code", "statusCode", "error_code", "errorCode", "httpCode")
_CODES: Final = (
    "code",
    "error_type",
    "type",
    "__type",
    "errorCode",
    "error_code",
    "errorType",
    "reason",
    "status",
    "error",
)
_FINE: Final = frozenset({"0", "200", "201", "ok", "success", "succeeded", "none", ""})
_UPSTREAM: Final = ("raw", "upstream_error", "original_error", "innererror", "inner_error", "cause", "provider_error")
_ANSWERS: Final = frozenset({"choices", "usage", "candidates", "content", "delta", "data", "output"})


@dataclass(frozen=True, slots=True)
class Report:
    """The content of an error.

    `layers` are its objects from the outermost to the innermost; `words` is its message. `upstream` and
    `upstream_words` are the objects and the message of another server's error that this error quotes.
    """

    layers: tuple[Mapping[str, object], ...] = ()
    words: str = ""
    upstream: tuple[Mapping[str, object], ...] = ()
    upstream_words: str = ""
    fields: Mapping[str, object] = field(default_factory=dict)

    @property
    def metadata(self) -> Mapping[str, object]:
        """OpenRouter's `metadata`; empty if there is none."""
        return next((found for layer in reversed(self.layers) if (found := mapping(layer.get("metadata")))), {})

    @property
    def availability(self) -> Mapping[str, object]:
        """OpenRouter's `availability`; empty if there is none."""
        return mapping(self.fields.get("availability")) or mapping(self.metadata.get("availability"))

    @property
    def everything(self) -> tuple[Mapping[str, object], ...]:
        """All objects, the innermost first: the error's own objects, then the upstream's objects."""
        return (*reversed(self.layers), *reversed(self.upstream))


def report(error: object) -> Report:
    """The report on an error of any shape."""
    layers, words = _unwrap(error)
    fields: Mapping[str, object] = layers[-1] if layers else {}
    if not words:
        words = next((text for layer in reversed(layers) if (text := _text(layer))), "")
    upstream: list[Mapping[str, object]] = []
    upstream_words = ""
    for quoted in _quoted(layers, words):
        inner, said = _unwrap(quoted)
        upstream += [layer for layer in inner if layer not in upstream]
        upstream_words = (
            upstream_words or said or next((text for layer in reversed(inner) if (text := _text(layer))), "")
        )
    return Report(tuple(layers), words, tuple(upstream), upstream_words, fields)


def find_error(payload: Any) -> object | None:
    """The error in a decoded body or SSE chunk, or None.

    The error is a field of the payload, a field of a choice, or the payload itself.
    """
    if not isinstance(payload, dict):
        return payload if _is_error(payload) else None
    error: object = payload.get("error")
    choices = payload.get("choices")
    if error is not None and not choices and not isinstance(error, list | dict):
        # A word or a flag: what it is about stands beside it.
        beside = any(name in payload for name in (*_STATUSES, *_TEXTS) if name != "error")
        return payload if beside or not isinstance(error, str) else error
    if error is not None and (error or choices or not _says(payload)):
        return error
    if isinstance(choices, list) and choices:
        for choice in choices:
            if isinstance(choice, dict):
                own: object = choice.get("error")
                if own is not None:
                    return own
                if choice.get("finish_reason") == "error":
                    return {"message": "the answer ended in an error (finish_reason: error)"}
        return None
    return payload if _is_error(payload) else None


def _is_error(payload: object) -> bool:
    """Whether a payload without choices is an error."""
    if isinstance(payload, list):
        return any(isinstance(item, dict) and (item.get("error") or _is_error(item)) for item in payload[:_MAX_ITEMS])
    if isinstance(payload, str):
        return bool(payload.strip())
    if not isinstance(payload, dict):
        return False
    if any(payload.get(name) for name in ("errors", "Error", "err", "fault", "exception")):
        return True
    if payload.get("object") == "error" or payload.get("type") == "error" or _wrapped(payload) is not None:
        return True
    base = mapping(payload.get("base_resp"))
    if str(base.get("status_code", "0")) not in _FINE:
        return True
    if any(_exceptions(payload)):
        return True
    codes = [payload[name] for name in (*_STATUSES, "__type") if name in payload]
    failed = any(error_status(code) is not None and error_status(code, least=400) is not None for code in codes)
    if failed and payload.get("choices", ()) in (None, []):
        return True
    if isinstance(payload.get("object"), str) or any(payload.get(name) not in _NOTHING for name in _ANSWERS):
        return False
    if failed:
        return True
    if isinstance(payload.get("detail"), str | list | dict) and payload["detail"]:
        return True
    return _says(payload) and all(str(code).lower() not in _FINE for code in codes)


_NOTHING: Final[tuple[object, ...]] = (None, [], {}, "")


def _exceptions(layer: Mapping[str, object]) -> Iterator[str]:
    """The names of exceptions, in lower case, among the first fields: an answer may have a million fields."""
    for name, value in islice(layer.items(), _MOST_FIELDS):
        if name.endswith("Exception") and isinstance(value, dict):
            yield name.lower()


_FAINT: Final = frozenset({"reason", "text", "details", "description"})


def _says(payload: Mapping[str, object]) -> bool:
    """Whether an object says something to people, as errors do."""
    return any(isinstance(payload.get(name), str) and payload[name] for name in _TEXTS if name not in _FAINT)


def _wrapped(payload: Mapping[str, object]) -> object | None:
    """The error in an envelope; None if there is none."""
    for name in _WRAPPERS:
        inner = payload.get(name)
        if isinstance(inner, dict):
            deeper = [mapping(inner.get(name)) for name in _WRAPPERS]
            for place in (inner, *deeper):
                if "choices" not in place and (
                    place.get("error") or (payload.get("object") == "error" and _says(place))
                ):
                    return place
    return None


# The parts of a report


def codes(layers: Iterator[Mapping[str, object]] | tuple[Mapping[str, object], ...]) -> Iterator[str]:
    """The codes and types in these objects, in lower case, without plain numbers."""
    for layer in layers:
        for name in _CODES:
            value = layer.get(name)
            if isinstance(value, str) and value:
                yield _code(value)
        yield from _exceptions(layer)
        details = layer.get("details")
        for detail in details[:8] if isinstance(details, list) else ():
            if isinstance(reason := mapping(detail).get("reason"), str):
                yield reason.lower()
        if isinstance(reason := mapping(layer.get("innererror")).get("code"), str):
            yield reason.lower()


def numbers(report: Report) -> Iterator[tuple[str, str]]:
    """The numeric codes of servers with their own numbering: (field, number as a string)."""
    for layer in report.everything:
        base = mapping(layer.get("base_resp")) or (layer if "status_msg" in layer else {})
        if "status_code" in base:
            yield "base_resp", _digits(base["status_code"])
        for name in ("error_code", "code"):
            # GLM's four digits come as text; as a number they are anyone's.
            if name in layer and (name != "code" or isinstance(layer[name], str) or len(_digits(layer[name])) > 4):
                yield name, _digits(layer[name])


def status_of(report: Report) -> int | None:
    """The HTTP status that the error contains, or None."""
    for layer in report.everything:
        for name in (*_STATUSES, "error"):
            if (status := error_status(layer.get(name))) is not None:
                return status
    return None


def parameter_of(report: Report) -> str | None:
    """The field of the request that the error names, from OpenAI's `param` or pydantic's `loc`; else None."""
    for layer in report.everything:
        if isinstance(name := layer.get("param"), str) and name:
            return name[:80]
        for items in (layer.get("detail"), layer.get("errors"), layer.get("message")):
            for item in items[:_MAX_ITEMS] if isinstance(items, list) else ():
                if place := _place(mapping(item)):
                    return place[:80]
    return None


def error_status(value: object, least: int = 300) -> int | None:
    """The value as an error status from `least` to 599; "429" and 429.0 are accepted. None for any other value."""
    found = number(value)
    return int(found) if found is not None and least <= found < 600 else None


def number(value: object) -> float | None:
    """The value as a finite number, also from a string; None for any other value."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def mapping(value: object) -> Mapping[str, object]:
    """The value if it is a mapping, else an empty mapping."""
    return value if isinstance(value, dict) else {}


def decode(body: bytes) -> object:
    """The body, or the data of a single SSE event, as JSON; else as text.

    Broken JSON becomes a text with its size only, so that no part of it is taken for a message.
    """
    text = body[:MAX_BODY].removeprefix(b"\xef\xbb\xbf").strip()
    for line in text.split(b"\n", 8)[:8] if text.startswith((b"event:", b"data:", b":")) else ():
        if line.startswith(b"data:"):
            text = line.removeprefix(b"data:").strip()
            break
    try:
        return orjson.loads(text if text.isascii() else text.decode("utf-8", "replace"))
    except orjson.JSONDecodeError:
        if text[:1] in (b"{", b"["):
            return f"an unreadable body of {len(body)} bytes"
        return text[: MAX_READ * 4].decode("utf-8", "replace")


# Inside


def _unwrap(error: object) -> tuple[list[Mapping[str, object]], str]:
    """The objects that describe the error, from the outermost to the innermost, and a message outside of them."""
    layers: list[Mapping[str, object]] = []
    for _ in range(_MAX_DEPTH):
        if isinstance(error, list):
            error = next((item for item in error if isinstance(item, dict | str | list)), None)
        if isinstance(error, str):
            error = json_in(error)
        if isinstance(error, dict):
            layers.append(error)
            inner = _inside(error)
            if inner is None:
                return layers, _text(error)
            error = inner
        elif isinstance(error, str):
            return layers, error
        elif not isinstance(error, list):
            break
    return layers, ""


def _inside(error: Mapping[str, object]) -> object:
    """The error that is wrapped in this object; None if the object wraps no error."""
    for name in _INSIDE:
        inner = error.get(name)
        if isinstance(inner, dict) or (isinstance(inner, list) and not _pydantic(inner)):
            if inner:
                return inner
        elif name == "error" and isinstance(inner, str):
            beside = isinstance(error.get("message"), str)
            if _holds_json(inner) or not beside:
                return inner
    for name, inner in islice(error.items(), _MOST_FIELDS):
        if name.endswith("Exception") and isinstance(inner, dict):
            return inner
    if (wrapped := _wrapped(error)) is not None:
        return wrapped
    if not _text(error) and (inner := next(filter(None, (mapping(error.get(name)) for name in _WRAPPERS)), None)):
        return inner
    inner = error.get("message")
    return inner if isinstance(inner, dict) or (isinstance(inner, str) and _holds_json(inner)) else None


def _holds_json(text: str) -> bool:
    return isinstance(json_in(text), dict | list)


def _quoted(layers: list[Mapping[str, object]], words: str) -> Iterator[object]:
    """The upstream errors that an error quotes."""
    for layer in reversed(layers):
        for source in (mapping(layer.get("metadata")), layer):
            for name in _UPSTREAM:
                if source.get(name):
                    yield source[name]
    if (embedded := _embedded(words)) is not None:
        yield embedded


def _embedded(words: str) -> object | None:
    """The JSON object in a text like `got status 429: {...}`."""
    start = words.find("{", 1, MAX_READ)
    if start < 1 or len(words) > _MAX_EMBEDDED:
        return None
    end = words.rfind("}")
    try:
        found = orjson.loads(words[start : end + 1].encode("utf-8", "replace"))
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def json_in(text: str) -> object:
    """The JSON object or list in a text, encoded once or twice; else the text."""
    for _ in range(2):
        head = text[:200].lstrip()
        if not (head[:1] in ("{", "[") or (head[:1] == '"' and head[1:2] in ("{", "[", "\\"))) or len(text) > MAX_BODY:
            return text
        try:
            found = orjson.loads(text.encode("utf-8", "replace"))
        except orjson.JSONDecodeError:
            return text
        if not isinstance(found, str):
            return found if isinstance(found, dict | list) else text
        text = found
    return text


def _text(value: object, depth: int = 0) -> str:
    """The first message in a value; never a field such as `input`, which repeats the request."""
    if depth > _MAX_DEPTH:
        return ""
    if isinstance(value, str):
        inner = json_in(value)
        return value if isinstance(inner, str) else _text(inner, depth + 1)
    if isinstance(value, list):
        if _pydantic(value):
            return "; ".join(_pydantic_words(item) for item in value[:_MAX_ITEMS])
        return next((text for item in value[:_MAX_ITEMS] if (text := _text(item, depth + 1))), "")
    if isinstance(value, dict):
        return next((text for name in _TEXTS if (text := _text(value.get(name), depth + 1))), "")
    return ""


def _pydantic(items: list[object]) -> bool:
    return bool(items) and all(isinstance(item, dict) and "loc" in item for item in items[:_MAX_ITEMS])


def _pydantic_words(item: object) -> str:
    fields = mapping(item)
    says = _text(fields.get("msg")) or _text(fields.get("message"))
    place = _place(fields)
    return f"{place}: {says}" if place and says else says


def _place(item: Mapping[str, object]) -> str:
    """The place in the request that a validator names, without the leading `body`."""
    parts = item.get("loc")
    if not isinstance(parts, list | tuple):
        return ""
    named = [str(part)[:40] for part in parts[:8] if isinstance(part, str | int) and part != "body"]
    return ".".join(named)


def _code(value: str) -> str:
    """A code without Amazon's prefix and suffix: `com.amazon.coral#ThrottlingException:http://...`."""
    return value[:200].strip().rpartition("#")[2].partition(":")[0].lower()


def _digits(value: object) -> str:
    found = number(value)
    return str(int(found)) if found is not None and abs(found) < 1e9 else ""
