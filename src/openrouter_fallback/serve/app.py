"""The ASGI application: the routes, and the checks that refuse a request before a model is called."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import orjson
from starlette.middleware.cors import CORSMiddleware

from .. import FallbackClient
from .access import ANYBODY, ApiKey, check_host
from .bodies import Gone, Message, Receive, discard, parse, read
from .calls import Call, Reply, Send
from .chains import Chains
from .errors import CLOSE, Problem, Refused
from .log import FailedCalls, Record, logger
from .metrics import CONTENT_TYPE, Metrics
from .options import Options

CHAT = "/v1/chat/completions"
MODELS = "/v1/models"
_VERSIONS = ("1.0", "1.1")
_TEXT = ((b"content-type", b"text/plain; charset=utf-8"),)
_EXPOSED = ("retry-after", "x-request-id", "x-openrouter-fallback-attempts", "x-openrouter-fallback-model")


class _Request:
    """One request: its parts, and the `Reply` that answers it."""

    def __init__(self, scope: Message, receive: Receive, send: Send, options: Options) -> None:
        self.path: str = scope["path"]
        self.method: str = scope["method"]
        self.fields: list[tuple[bytes, bytes]] = scope["headers"]
        self.headers = dict(self.fields)
        self.receive = receive
        self.record = Record(uuid4().hex)
        length = self.headers.get(b"content-length", b"0").strip(b"0")
        self.unread = bool(length) or b"transfer-encoding" in self.headers
        """Whether the request has a body that has not been read yet."""
        self._bounds = options.bounds
        connection = (scope.get("state") or {}).get("connection")
        self.reply = Reply(send, self.record, connection, options.bounds.write_seconds)

    def all(self, name: bytes) -> list[bytes]:
        """The values of all headers with this name."""
        return [value for key, value in self.fields if key == name]

    async def refuse(self, problem: Problem) -> None:
        """Send the error. An unread body is read for a limited time, so that the client sees the error; then close."""
        reply = self.reply
        if not self.unread:
            await reply.refuse(problem)
            return
        self.record.code = problem.body["error"]["code"]
        content = orjson.dumps(problem.body)
        headers = [header for header in problem.headers if header != CLOSE]
        kind, length = (b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))
        await reply.begin(problem.status, [kind, length, CLOSE, *headers])
        await reply.write(content)
        await discard(self.receive, self._bounds)
        await reply.write(b"", more=False)


class App:
    """The server's application. It subscribes to the events of `client`, and never closes `client`."""

    def __init__(self, client: FallbackClient, options: Options | None = None) -> None:
        self.options = options or Options()
        self.draining = False
        """Whether the server is stopping, so that no new call begins."""
        self.under_way = 0
        """The number of active calls, each from the first byte of its body to the last byte of its answer."""
        self._calls: set[Call] = set()
        self._failed = FailedCalls()
        self._client = client
        self._chains = Chains(client.config)
        self._metrics = Metrics(client)
        client.subscribe(self._metrics)
        self._routes: dict[str, tuple[str, Callable[[_Request], Awaitable[None]]]] = {
            CHAT: ("POST", self._chat),
            MODELS: ("GET", self._models),
            "/healthz": ("GET", self._healthy),
            "/readyz": ("GET", self._ready),
            "/metrics": ("GET", self._numbers),
        }
        self._inner: Any = self._serve
        if self.options.origins:
            self._inner = CORSMiddleware(
                self._serve,
                allow_origins=self.options.origins,
                allow_methods=("GET", "POST"),
                allow_headers=("*",),
                expose_headers=_EXPOSED,
            )

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            self._admit(scope["http_version"], scope["headers"])
        except Refused as refused:
            await _Request(scope, receive, send, self.options).reply.refuse(refused.problem)
            return
        await self._inner(scope, receive, send)

    def drain(self) -> None:
        """End all active calls, each with an error."""
        for call in [*self._calls]:
            call.drain()

    def _admit(self, version: str, headers: list[tuple[bytes, bytes]]) -> None:
        """Check version, headers and Host of any request. Raises `Refused`."""
        names = [name for name, _ in headers]
        if version not in _VERSIONS:
            raise Refused(505, "This server speaks HTTP/1.1.", code="invalid_http", close=True)
        if b"transfer-encoding" in names and (b"content-length" in names or version == "1.0"):
            # Request smuggling: a proxy could use the other length, and treat a part of the body as a request.
            message = "Transfer-Encoding excludes Content-Length, and HTTP/1.0 does not have it."
            raise Refused(400, message, code="ambiguous_length", close=True)
        if sum(len(name) + len(value) for name, value in headers) > self.options.bounds.header_bytes:
            message = f"The headers are larger than {self.options.bounds.header_bytes} bytes."
            raise Refused(431, message, code="headers_too_large", close=True)
        if self.options.loopback:
            check_host([value for name, value in headers if name == b"host"])

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        request = _Request(scope, receive, send, self.options)
        try:
            method, answer = self._route(request.path)
            if request.method != method and (request.method, method) != ("HEAD", "GET"):
                message = f"{request.path} takes {method}, not {request.method[:20]}."
                allow = (b"allow", method.encode())
                raise Refused(405, message, code="method_not_allowed", headers=[allow])
            if method == "GET" and request.unread:
                raise Refused(400, f"{request.path} takes no body.", code="unexpected_body")
            await answer(request)
        except Refused as refused:
            await request.refuse(refused.problem)

    def _route(self, path: str) -> tuple[str, Callable[[_Request], Awaitable[None]]]:
        found = self._routes.get(path)
        if found is None and path.startswith(f"{MODELS}/"):
            return "GET", self._model
        if found is None:
            message = f"There is no {path[:200]!r} here: POST {CHAT} and GET {MODELS} are what this server does."
            raise Refused(404, message, code="not_found")
        return found

    # Calls

    async def _chat(self, request: _Request) -> None:
        record, begun = request.record, time.monotonic()
        try:
            await self._chat_within_bounds(request)
        except Gone:
            record.outcome = "cancelled"
        except Refused as refused:
            await request.refuse(refused.problem)
        finally:
            seconds = time.monotonic() - begun
            self._metrics.calls.labels(record.key, record.chain, record.status, record.outcome).inc()
            if record.outcome != "refused":
                self._metrics.seconds.labels(record.chain).observe(seconds)
            if record.first_token is not None:
                self._metrics.first_token.labels(record.chain).observe(record.first_token)
            if self.options.access_log:
                logger.info("%s", record.line(time.time(), seconds).decode())

    async def _chat_within_bounds(self, request: _Request) -> None:
        caller = self._caller(request)
        if self.draining:
            message = "The server is stopping; send the request again."
            raise Refused(503, message, code="draining", type="server_error", retry_after=1, close=True)
        if self.under_way >= self.options.bounds.calls:
            message = f"{self.options.bounds.calls} calls are under way, the most that this server makes at a time."
            raise Refused(503, message, code="busy", type="server_error", retry_after=1, close=True)
        self.under_way += 1  # before the first await, so that a request whose body is still arriving counts
        try:
            await self._call(request, caller)
        finally:
            self.under_way -= 1

    async def _call(self, request: _Request, caller: ApiKey) -> None:
        record = request.record
        body = await read(request.headers, request.receive, self.options.bounds)
        request.unread = False
        asked = parse(request.headers, body)
        record.model, record.stream = asked.model, asked.stream
        routing = self._chains.choose(asked.model, asked.models, caller)
        record.chain = asked.model
        call = Call(self._client, asked, request.reply, record, self._failed)
        self._calls.add(call)
        self._metrics.in_flight.inc()
        try:
            await call.run(routing, request.receive)
        finally:
            self._metrics.in_flight.dec()
            self._calls.discard(call)

    def _caller(self, request: _Request) -> ApiKey:
        caller = self.options.keys.caller(request.all(b"authorization")) if self.options.keys else ANYBODY
        request.record.key = caller.name
        return caller

    # Everything else

    async def _models(self, request: _Request) -> None:
        names = self._chains.names(self._caller(request))
        await request.reply.whole(200, orjson.dumps({"object": "list", "data": [_described(name) for name in names]}))

    async def _model(self, request: _Request) -> None:
        name = request.path[len(MODELS) + 1 :]
        self._chains.find(name, self._caller(request))
        await request.reply.whole(200, orjson.dumps(_described(name)))

    async def _healthy(self, request: _Request) -> None:
        await request.reply.whole(200, b"ok\n", _TEXT)

    async def _ready(self, request: _Request) -> None:
        # A server with open circuits is ready: without calls, no model would recover.
        await request.reply.whole(503 if self.draining else 200, b"draining\n" if self.draining else b"ready\n", _TEXT)

    async def _numbers(self, request: _Request) -> None:
        self._caller(request)
        await request.reply.whole(200, self._metrics.page(), [(b"content-type", CONTENT_TYPE)])


def _described(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "openrouter-fallback"}
