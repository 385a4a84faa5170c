"""The HTTP side: chat completions as a plain ASGI callable that plays plans, the rest as a small Starlette app."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response
from starlette.routing import Route

from openrouter_fallback.emulator import answers, models
from openrouter_fallback.emulator.answers import Script, Stamp
from openrouter_fallback.emulator.connection import Connection
from openrouter_fallback.emulator.log import Entry, RequestLog
from openrouter_fallback.emulator.plan import SSE, Forever, HangUp, Plan, Scene, Send, Step, Wait, healthy
from openrouter_fallback.emulator.schedule import Schedule

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
SendMessage = Callable[[Message], Awaitable[None]]

CHAT = "/api/v1/chat/completions"
_BREATH = 16
_BLOCK = 32
_END: Message = {"type": "http.response.body", "body": b"", "more_body": False}


@dataclass(slots=True)
class State:
    """What the emulator's user sets and the server reads; one word of it changes at a time, so there is no lock."""

    api_key: str
    known: Sequence[str] | None
    log: RequestLog
    schedule: Schedule
    latency: float = 0.0
    token_interval: float = 0.0
    comments: int = 1
    coalesce: bool = False
    seed: int = 0
    scripts: dict[str | None, Script] = field(default_factory=dict)
    stopping: bool = False


class Refused(Exception):
    """A request that OpenRouter itself turns down."""

    def __init__(self, status: int, message: str, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        extra = {} if metadata is None else {"metadata": metadata}
        self.status = status
        self.body = orjson.dumps({"error": {"code": status, "message": message, **extra}})


class App:
    """The ASGI application."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._rest = Starlette(
            routes=[
                Route("/api/v1/models", self._models, methods=["GET"]),
                Route("/api/v1/key", self._key, methods=["GET"]),
            ],
            exception_handlers={404: _not_found, 405: _not_found},
        )

    async def __call__(self, scope: Message, receive: Receive, send: SendMessage) -> None:
        if scope["type"] == "http" and scope["path"] == CHAT and scope["method"] == "POST":
            await self._chat(scope, receive, send)
        else:
            await self._rest(scope, receive, send)

    async def _chat(self, scope: Message, receive: Receive, send: SendMessage) -> None:
        raw = await _read(receive)
        if raw is None:
            return
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        body = _parsed(raw)
        fields = body if isinstance(body, dict) else {}
        entry = self._state.log.open(_model(fields), fields, headers)
        stamp = Stamp(entry.number, int(time.time()), self._state.seed)
        try:
            plan = self._plan(entry, body, headers, stamp)
        except Refused as refused:
            plan = Plan([Send(refused.body)], status=refused.status)
        player = _Player(scope["state"]["connection"], send, entry, self._state, stamp.generation_id())
        await player.play(plan)

    def _plan(self, entry: Entry, body: Any, headers: dict[str, str], stamp: Stamp) -> Plan:
        state = self._state
        _authorize(headers.get("authorization", ""), state.api_key)
        request = _checked(body, state.known)
        model: str = request["model"]
        script = state.scripts.get(model) or state.scripts.get(None) or Script()
        if script.prefill == "refuse" and answers.prefix(request):
            raise Refused(400, "Provider returned error", _no_prefill(model))
        answer = answers.answer(request, stamp, script)
        if headers.get("x-openrouter-metadata", "").lower() == "enabled":
            answer["openrouter_metadata"] = _routing(request)
        scene = Scene(request, answer, state.latency, state.token_interval, state.comments)
        fault = state.schedule.pick(model)
        if fault is None:
            return healthy(scene)
        entry.fault = fault.kind
        return fault.plan(scene)

    async def _models(self, request: HTTPRequest) -> Response:
        return Response(orjson.dumps(models.listing(self._state.known)), media_type="application/json")

    async def _key(self, request: HTTPRequest) -> Response:
        try:
            _authorize(request.headers.get("authorization", ""), self._state.api_key)
        except Refused as refused:
            return Response(refused.body, status_code=refused.status, media_type="application/json")
        return Response(orjson.dumps({"data": _KEY}), media_type="application/json")


class _Player:
    """Sends one plan, and notes in the log what became of it."""

    def __init__(
        self, connection: Connection, send: SendMessage, entry: Entry, state: State, generation_id: str
    ) -> None:
        self._connection = connection
        self._send = send
        self._entry = entry
        self._state = state
        self._generation_id = generation_id
        self._interval = 0.0

    async def play(self, plan: Plan) -> None:
        connection, entry = self._connection, self._entry
        steps: Sequence[Step] = plan.steps
        streamed = plan.media_type == SSE
        self._interval = self._state.token_interval if streamed else 0.0
        if streamed and self._state.coalesce and not self._interval:
            steps = _coalesced(steps)
        if not streamed and steps and isinstance(steps[0], Wait) and not steps[0].data:
            await connection.sleep(steps[0].seconds)
            steps = steps[1:]
        if plan.status is not None and not connection.gone:
            await self._start(plan, plan.status)
        for count, step in enumerate(steps, 1):
            if connection.gone:
                break
            if not count % _BREATH:
                # A stream without pauses would otherwise keep all others waiting.
                await asyncio.sleep(0)
            await _PLAY[type(step)](self, step)
        if connection.gone:
            if not self._state.stopping:
                entry.end("gone")
        elif not connection.hung_up:
            # Before the last byte: whoever has read the answer finds it finished in the log.
            entry.end(plan.ended)
            await self._send(_END)

    async def _start(self, plan: Plan, status: int) -> None:
        self._entry.begin(status)
        headers = {
            "content-type": plan.media_type,
            "cache-control": "no-cache" if plan.media_type == SSE else "no-store",
            "access-control-allow-origin": "*",
            "x-generation-id": self._generation_id,
            **plan.headers,
        }
        encoded = [(key.lower().encode(), value.encode("latin-1")) for key, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": encoded})

    async def _write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _data(self, step: Send) -> None:
        if step.tokens:
            if self._interval and self._entry.tokens_sent:
                await self._connection.sleep(self._interval)
                if self._connection.gone:
                    return
            self._entry.tokens(step.tokens)
        await self._write(step.data)

    async def _wait(self, step: Wait) -> None:
        if not step.data:
            await self._connection.sleep(step.seconds)
            return
        end = time.monotonic() + step.seconds
        while not self._connection.gone and (left := end - time.monotonic()) > 0:
            await self._write(step.data)
            await self._connection.sleep(min(step.interval, left))

    async def _forever(self, step: Forever) -> None:
        while not self._connection.gone:
            if step.data:
                await self._write(step.data)
            await self._connection.sleep(step.interval)

    async def _hang_up(self, step: HangUp) -> None:
        self._entry.end("fault")
        self._connection.hang_up(step.reset)


_PLAY: dict[type, Callable[[_Player, Any], Awaitable[None]]] = {
    Send: _Player._data,
    Wait: _Player._wait,
    Forever: _Player._forever,
    HangUp: _Player._hang_up,
}


def _coalesced(steps: Sequence[Step]) -> list[Step]:
    joined: list[Step] = []
    block: list[Send] = []

    def flush() -> None:
        if block:
            joined.append(Send(b"".join(send.data for send in block), sum(send.tokens for send in block)))
            block.clear()

    for step in steps:
        if not isinstance(step, Send):
            flush()
            joined.append(step)
            continue
        block.append(step)
        if len(block) == _BLOCK:
            flush()
    flush()
    return joined


async def _read(receive: Receive) -> bytes | None:
    """The body of a request, or None if the client left before it was there."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        piece: bytes = message.get("body", b"")
        body += piece
        if not message.get("more_body"):
            return body


def _parsed(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


def _authorize(header: str, api_key: str) -> None:
    scheme, _, key = header.partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise Refused(401, "No auth credentials found")
    if key != api_key:
        raise Refused(401, "User not found.")


def _checked(body: Any, known: Sequence[str] | None) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Refused(400, "Invalid JSON in request body")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise Refused(400, 'Input required: specify "prompt" or "messages"')
    for name, wanted in _TYPES.items():
        if body.get(name) is not None and not isinstance(body[name], wanted):
            raise Refused(400, f"Invalid input: expected {wanted.__name__} at {name}")
    model = _model(body)
    if model is None:
        raise Refused(400, "No models provided")
    if not models.routable(model, known):
        raise Refused(400, f"{model} is not a valid model ID")
    return {**body, "model": model}


def _model(body: dict[str, Any]) -> str | None:
    model = body.get("model") or next(iter(body.get("models") or ()), None)
    return None if model is None else str(model)


def _no_prefill(model: str) -> dict[str, Any]:
    raw = "This model does not support assistant message prefill. The conversation must end with a user message."
    return {"provider_name": models.author(model).provider, "raw": raw}


def _routing(request: dict[str, Any]) -> dict[str, Any]:
    model, provider = request["model"], models.author(request["model"]).provider
    return {
        "requested": model,
        "strategy": "direct",
        "region": "loopback",
        "summary": f"available=1, selected={provider}",
        "attempt": 1,
        "is_byok": False,
        "endpoints": {"total": 1, "available": [{"model": model, "provider": provider, "selected": True}]},
    }


def _not_found(request: HTTPRequest, exc: Exception) -> Response:
    status = getattr(exc, "status_code", 404)
    error = {"code": status, "message": "Not Found"}
    return Response(orjson.dumps({"error": error}), status_code=status, media_type="application/json")


_TYPES: dict[str, type] = {
    "stream": bool,
    "n": int,
    "max_tokens": int,
    "max_completion_tokens": int,
    "tools": list,
    "reasoning": dict,
    "response_format": dict,
    "models": list,
}
_KEY: dict[str, Any] = {
    "label": "sk-or-v1-emu...tor",
    "limit": None,
    "limit_remaining": None,
    "limit_reset": None,
    "usage": 0.0,
    "usage_daily": 0.0,
    "usage_weekly": 0.0,
    "usage_monthly": 0.0,
    "byok_usage": 0.0,
    "byok_usage_daily": 0.0,
    "byok_usage_weekly": 0.0,
    "byok_usage_monthly": 0.0,
    "include_byok_in_limit": False,
    "is_free_tier": False,
    "is_management_key": False,
    "is_provisioning_key": False,
    "creator_user_id": None,
    "expires_at": None,
    "rate_limit": {"requests": -1, "interval": "10s", "note": "This field is deprecated and safe to ignore."},
}
