"""The ASGI application. Chat completions are a plain ASGI callable that plays plans; the rest is a Starlette app."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request as HTTPRequest
from starlette.responses import Response
from starlette.routing import Route

from ..answers.completion import Stamp
from ..dispatch import Dispatch, Outcome
from ..faults.plan import Plan, Send
from ..models import listing
from ..models.money import Account, Generation
from ..requests.refusal import Refused
from ..requests.validation import checked
from ..state import State
from . import guard
from .guard import Receive
from .log import Entry
from .player import Delivered, Message, Player, SendMessage

CHAT = "/api/v1/chat/completions"


class App:
    """The ASGI application."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._dispatch = Dispatch(state)
        pages: dict[str, Callable[[HTTPRequest], Any]] = {
            "/models": lambda request: listing.listing(state.models, request.query_params),
            "/models/{model:path}/endpoints": self._endpoints,
            "/key": lambda request: {"data": state.account.key(state.api_key)},
            "/credits": lambda request: {"data": state.account.credits()},
            "/generation": self._generation,
        }
        self._rest = Starlette(
            routes=[Route(f"/api/v1{path}", self._page(path, made), methods=["GET"]) for path, made in pages.items()],
            exception_handlers={404: _not_found, 405: _not_found},
        )

    async def __call__(self, scope: Message, receive: Receive, send: SendMessage) -> None:
        try:
            guard.check_host(scope["headers"])
        except Refused as refused:
            await _refuse(refused)(scope, receive, send)
            return
        if scope["type"] == "http" and scope["path"] == CHAT and scope["method"] == "POST":
            await self._chat(scope, receive, send)
        else:
            await self._rest(scope, receive, send)

    async def _chat(self, scope: Message, receive: Receive, send: SendMessage) -> None:
        try:
            raw = await guard.read_body(receive)
        except Refused as refused:
            await _refuse(refused)(scope, receive, send)
            return
        if raw is None:
            return
        state = self._state
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        body = _parsed(raw)
        fields = body if isinstance(body, dict) else {}
        entry = state.log.open(_model(fields), fields, headers)
        stamp = Stamp(entry.number, int(time.time()), state.seed, state.api_key if state.strict else None)
        outcome: Outcome | None = None
        try:
            _authorize(headers.get("authorization", ""), state.api_key)
            outcome = self._dispatch.plan(entry, checked(body), headers, stamp)
            plan = outcome.plan
        except Refused as refused:
            plan = Plan([Send(refused.body())], status=refused.status)

        def settle(delivered: Delivered) -> None:
            if outcome is not None:
                _settle(state.account, entry, outcome, stamp, delivered, headers)

        player = Player(
            scope["state"]["connection"],
            send,
            entry,
            pace=state.pace(entry.served_by or entry.model),
            dice=state.dice,
            coalesce=state.coalesce,
            stopping=lambda: state.stopping,
            settle=settle,
        )
        await player.play(plan, {"x-generation-id": stamp.generation_id()})

    def _page(self, path: str, made: Callable[[HTTPRequest], Any]) -> Callable[[HTTPRequest], Awaitable[Response]]:
        async def page(request: HTTPRequest) -> Response:
            try:
                if not path.startswith("/models"):
                    _authorize(request.headers.get("authorization", ""), self._state.api_key)
                content, status = orjson.dumps(made(request)), 200
            except Refused as refused:
                content, status = refused.body(), refused.status
            return Response(content, status_code=status, media_type="application/json")

        return page

    def _endpoints(self, request: HTTPRequest) -> Any:
        name = request.path_params["model"]
        model = self._state.models.find(name) or next((m for m in self._state.models if m.slug == name), None)
        if model is None:
            raise Refused(404, "Not Found")
        return listing.endpoints(model, lambda *at: self._state.health.get(at, (0, 0)))

    def _generation(self, request: HTTPRequest) -> Any:
        name = request.query_params.get("id", "")
        if not name:
            raise Refused(400, "Invalid input: expected str at id")
        found = self._state.account.generation(name)
        if found is None:
            raise Refused(404, f"Generation {name[:60]} not found")
        return {"data": found.bill()}


def _settle(
    account: Account, entry: Entry, outcome: Outcome, stamp: Stamp, delivered: Delivered, headers: Mapping[str, str]
) -> None:
    """Charge the account for an answer that began."""
    if entry.status != 200 or outcome.served is None:
        return
    now = time.monotonic()
    first = entry.first_token_at
    generation = Generation(
        id=stamp.generation_id(),
        served=outcome.served,
        streamed=bool(entry.body.get("stream")),
        created=stamp.created,
        usage=delivered.usage,
        tokens_sent=entry.tokens_sent,
        cancelled=delivered.cancelled,
        finish=delivered.finish[0],
        native_finish=delivered.finish[1],
        latency=None if first is None else first - entry.opened_at,
        seconds=now - (first or entry.opened_at),
        headers={name: headers[name] for name in ("http-referer", "user-agent") if name in headers},
        responses=outcome.responses,
    )
    entry.generation_id = generation.id
    entry.cost = float(generation.cost)
    account.charge(generation)


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


def _model(body: dict[str, Any]) -> str | None:
    model = body.get("model") or next(iter(body.get("models") or ()), None)
    return None if model is None else str(model)


def _refuse(refused: Refused) -> Response:
    """The response to a refused request. The server closes the connection, because the rest of the body is not read."""
    headers = {"connection": "close"}
    return Response(refused.body(), status_code=refused.status, media_type="application/json", headers=headers)


def _not_found(request: HTTPRequest, exc: Exception) -> Response:
    status = getattr(exc, "status_code", 404)
    return Response(Refused(status, "Not Found").body(), status_code=status, media_type="application/json")
