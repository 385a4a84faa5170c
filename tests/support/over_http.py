"""The server with the interface of the plain client, so that one case table tests both: it reads the HTTP responses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx2

from openrouter_fallback import (
    AllModelsFailedError,
    Attempt,
    AuthenticationError,
    Completion,
    ContentPolicyError,
    ContextLengthError,
    FailureKind,
    FallbackClient,
    FallbackError,
    InsufficientCreditsError,
    InvalidRequestError,
    ModelConfig,
    PermissionDeniedError,
    Piece,
    RateLimitedError,
    StreamInterruptedError,
    ToolCall,
)
from openrouter_fallback.results import Seam

from .clients import undiced
from .serving import Served, serving

_CLASSES: dict[str, type[FallbackError]] = {
    "all_models_failed": AllModelsFailedError,
    "content_policy_violation": ContentPolicyError,
    "context_length_exceeded": ContextLengthError,
    "insufficient_credits": InsufficientCreditsError,
    "invalid_request": InvalidRequestError,
    "model_not_found": AllModelsFailedError,
    "permission_denied": PermissionDeniedError,
    "rate_limit_exceeded": RateLimitedError,
    "stream_interrupted": StreamInterruptedError,
    "timeout": AllModelsFailedError,
    "unsupported": AllModelsFailedError,
    "upstream_authentication": AuthenticationError,
}


class OverHttp:
    """`chat` and `stream` of a client through a server. Each chain and each continuation mode has its own server."""

    def __init__(self, **options: Any) -> None:
        settings = options.pop("settings")
        self._clients = {
            mid_stream: undiced(
                FallbackClient(settings=settings.model_copy(update={"mid_stream": mid_stream}), **options)
            )
            for mid_stream in ("raise", "continue")
        }
        self._servers: dict[tuple[Any, ...], Served] = {}
        self._stack = ExitStack()
        self._http = self._stack.enter_context(httpx2.Client(timeout=60))

    def chat(self, prompt: str, **params: Any) -> Completion:
        url, body = self._request(prompt, params)
        response = self._http.post(url, json=body)
        found = response.json()
        if response.status_code != 200:
            raise _error(found["error"], response.headers.get("retry-after"))
        return _completion(found, found.pop("openrouter_fallback"))

    def stream(self, prompt: str, **params: Any) -> Streamed:
        url, body = self._request(prompt, params)
        return Streamed(self._http, url, {**body, "stream": True})

    def reset(self) -> None:
        for client in self._clients.values():
            client.reset()

    def close(self) -> None:
        self._stack.close()
        for client in self._clients.values():
            client.close()

    def _request(self, prompt: str, params: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        models: tuple[ModelConfig, ...] = tuple(params.pop("models"))
        mid_stream = params.pop("mid_stream", "raise")
        key = (*(model.id for model in models), *(model.timeout for model in models), mid_stream)
        if key not in self._servers:
            client = self._clients[mid_stream].with_options(models=models)
            self._servers[key] = self._stack.enter_context(serving(client))
        url = f"{self._servers[key].base_url}/chat/completions"
        return url, {"model": "default", "messages": [{"role": "user", "content": prompt}], **params}


class Streamed:
    """A stream of server-sent events as a stream of pieces. Checks the promises that hold for every stream."""

    def __init__(self, http: httpx2.Client, url: str, body: dict[str, Any]) -> None:
        self._http, self._url, self._body = http, url, body
        self._completion: Completion | None = None
        self._over = False

    def __enter__(self) -> Streamed:
        return self

    def __exit__(self, *raised: object) -> None: ...

    def __iter__(self) -> Iterator[Piece]:
        text, calls, ids = "", [], set()
        with self._http.stream("POST", self._url, json=self._body) as response:
            if response.status_code != 200:
                response.read()
                raise _error(response.json()["error"], response.headers.get("retry-after"))
            for line in filter(None, response.iter_lines()):
                assert not self._over
                assert line.startswith("data: ")
                if line == "data: [DONE]":
                    assert self._completion is not None
                    self._over = True
                    continue
                chunk = json.loads(line.removeprefix("data: "))
                ids.add(chunk["id"])
                assert len(ids) == 1
                if "error" in chunk:
                    error = _error(chunk["error"], None)
                    error.partial = text or None
                    raise error
                choice = chunk["choices"][0]
                delta = choice["delta"]
                if choice["finish_reason"] is None:
                    piece = _piece(chunk, delta)
                    text += piece.text
                    calls += delta.get("tool_calls", [])
                    yield piece
                    continue
                told = chunk["openrouter_fallback"]
                message = {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}
                whole = {"finish_reason": choice["finish_reason"], "message": message}
                self._completion = _completion({"model": chunk["model"], "choices": [whole]}, told)
                if told["seams"]:
                    yield Piece(seams=self._completion.seams)
        assert self._over, "the stream ended in silence"

    @property
    def completion(self) -> Completion:
        assert self._completion is not None
        return self._completion


def _piece(chunk: dict[str, Any], delta: dict[str, Any]) -> Piece:
    calls = [ToolCall.read(call, n) for n, call in enumerate(delta.get("tool_calls", ()))]
    assert None not in calls
    return Piece(delta.get("content") or "", tool_calls=tuple(call for call in calls if call is not None), raw=chunk)


def _completion(body: dict[str, Any], told: dict[str, Any]) -> Completion:
    completion = Completion(body, _attempts(told["attempts"]), told["seconds"])
    completion.seams = tuple(Seam(**seam) for seam in told["seams"])
    return completion


def _attempts(attempts: list[dict[str, Any]]) -> tuple[Attempt, ...]:
    return tuple(
        Attempt(
            model=one["model"],
            endpoint="",
            kind=None if one["kind"] is None else FailureKind(one["kind"]),
            seconds=one["seconds"],
            status=one["status"],
        )
        for one in attempts
    )


def _error(error: dict[str, Any], retry_after: str | None) -> FallbackError:
    cls = _CLASSES[error["code"]]
    return cls(
        error["message"],
        attempts=_attempts(error["metadata"]["attempts"]),
        retry_after=None if retry_after is None else float(retry_after),
    )
