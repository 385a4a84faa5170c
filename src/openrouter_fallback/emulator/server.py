"""The emulator as its users see it: a server in a thread of its own, and the script of what it answers."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from decimal import Decimal
from random import Random
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from .answers.completion import Script
from .faults.schedule import FaultHandle, Schedule
from .http.app import App
from .http.connection import Connection
from .http.log import Request, RequestLog
from .models.money import Account
from .models.registry import Models
from .script import ScriptFile, near, read_script
from .state import State

_KEEP_ALIVE_SECONDS = 600
_GOODBYE_SECONDS = 2.0
_INSTRUCT = ("continue", "restart", "overlap", "preface")
_PREFILL = (*_INSTRUCT, "refuse")


def made_key() -> str:
    """A random key in OpenRouter's form."""
    return f"sk-or-v1-{secrets.token_hex(32)}"


class Emulator:
    """OpenRouter on loopback, whose answers and faults are scripted.

        with Emulator() as emulator:
            emulator.fault("rate_limit_exceeded", model="openai/gpt-5.1", retry_after=3)
            ...  # an OpenAI-compatible client with emulator.base_url and emulator.api_key

    It takes one key, `api_key`: the one given, else a random one; any other is answered with 401.
    `models` are the models it knows, as ids or as entries of a `GET /models`: each can do what its entry says, and no
    more. `MODELS` are the bundled ones. None is these and any other `author/name`, and each can do everything.
    `latency` is the time to the first token and `token_interval` that between tokens, in seconds; `jitter` (0 to 1) the
    share by which each of these varies; `comments` the number of keep-alive comments that open a stream. `coalesce`
    sends up to 32 events of a stream at a time. `credits` (USD) are what the account holds; when they are spent, models
    that cost answer 402. `strict` checks each history as the servers of the model's family do, refuses it in their
    words, and writes tool-call ids and signed reasoning in that family's form (`docs/testing-your-app.md` has the
    rules). `script` is the path of a YAML file with faults, answers and paces, in force from `start` on.
    `seed` decides what is random, `clock` (seconds) is the time of faults. The log keeps the last `keep` requests, or
    with None all of them. It listens on loopback only, on a free port unless one is given, and ends with the process.
    """

    def __init__(
        self,
        models: Sequence[str | Mapping[str, Any]] | None = None,
        *,
        api_key: str | None = None,
        latency: float = 0.0,
        token_interval: float = 0.0,
        jitter: float = 0.0,
        comments: int = 1,
        coalesce: bool = False,
        credits: float | None = None,
        strict: bool = False,
        script: str | os.PathLike[str] | None = None,
        seed: int = 0,
        keep: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        if keep is not None and keep < 1:
            raise ValueError(f"the log keeps at least one request, not keep={keep!r}")
        self._host = _loopback(host)
        self._port = port
        self._script = None if script is None else read_script(script, ScriptFile)
        if self._script is not None:
            models = self._script.models if models is None else models
            seed = self._script.seed if self._script.seed is not None else seed
            strict = strict or self._script.strict
        self._state = State(
            api_key=made_key() if api_key is None else api_key,
            models=Models(models),
            log=RequestLog(keep),
            schedule=Schedule(Random(seed), clock),
            account=Account(None if credits is None else Decimal(str(credits))),
            dice=Random(seed),
            comments=comments,
            coalesce=coalesce,
            strict=strict,
            seed=seed,
        )
        self.pace(latency=latency, token_interval=token_interval, jitter=jitter)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._halt: asyncio.Event | None = None
        self._unanswering: socket.socket | None = None

    def start(self) -> Emulator:
        """Serve, from when this returns. After a `stop` the port is the same as before."""
        if self._thread is not None:
            raise RuntimeError("the emulator is running already")
        listener = _bound(self._host, self._port)
        self._port = listener.getsockname()[1]
        self._state.stopping = False
        started: Future[None] = Future()
        thread = threading.Thread(target=self._run, args=(listener, started), name="openrouter-emulator", daemon=True)
        thread.start()
        started.result()
        self._thread = thread
        script, self._script = self._script, None
        if script is not None:
            self._enact(script)
        return self

    def stop(self) -> None:
        """Stop at once; connections that are open, streaming or stalled, are dropped. A second call does nothing."""
        thread, loop, halt = self._thread, self._loop, self._halt
        if thread is not None and loop is not None and halt is not None:
            self._state.stopping = True
            loop.call_soon_threadsafe(halt.set)
            thread.join()
            self._thread = self._loop = self._halt = None
        if self._unanswering is not None:
            self._unanswering.close()
            self._unanswering = None

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    async def __aenter__(self) -> Emulator:
        return self.start()

    async def __aexit__(self, *exc: object) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """What a client takes for `https://openrouter.ai/api/v1`."""
        if not self._port:
            raise RuntimeError("the emulator has no port yet: call start(), or use it as a context manager")
        return _url(self._host, self._port)

    @property
    def api_key(self) -> str:
        """The one key that it accepts: the one given, else a random one that no web page can guess."""
        return self._state.api_key

    def refused_url(self) -> str:
        """A base URL where every connection is refused; its port stays taken until `stop`."""
        if self._unanswering is None:
            self._unanswering = _bound(self._host, 0)
        return _url(self._host, self._unanswering.getsockname()[1])

    def pace(
        self,
        *,
        model: str | None = None,
        latency: float | None = None,
        token_interval: float | None = None,
        jitter: float | None = None,
    ) -> None:
        """Change the pace (seconds; `jitter` a share) of a model's answers to come, or with None of all others'."""
        changed = {"latency": latency, "token_interval": token_interval, "jitter": jitter}
        if jitter is not None and not 0.0 <= jitter <= 1.0:
            raise ValueError(f"jitter is a share from 0 to 1, not {jitter!r}")
        given = {name: value for name, value in changed.items() if value is not None}
        self._state.paces[model] = self._state.pace(model)._replace(**given)

    def reply(
        self,
        text: str | None = None,
        *,
        model: str | None = None,
        tokens: int | None = None,
        reasoning: str | bool | None = None,
        tool_calls: Sequence[Mapping[str, Any]] | None = None,
        images: Sequence[Any] | None = None,
        audio: Mapping[str, Any] | None = None,
        annotations: Sequence[Mapping[str, Any]] | None = None,
        finish_reason: str | None = None,
        refusal: str | None = None,
        logprobs: bool | Mapping[str, Any] | None = None,
        usage: Mapping[str, Any] | None = None,
        served_as: str | None = None,
        prefill: str = "continue",
        instruct: str = "continue",
    ) -> None:
        """Script the answers of a model, or with None of all that have no script of their own.

        What is left out stays as it is without a script: a sentence with the model's name, tools as the prompt names
        them. `tokens` is the exact number of tokens of the text. `reasoning` is a text, or True/False for always/never;
        `tool_calls` are `{"name", "arguments", "id"?}` with arguments as a value or a raw string; `usage` overrides
        single figures; `served_as` is the `model` of the answer. `prefill` says what happens when the request ends with
        an assistant message: "continue" it, "restart" from the beginning, "overlap" (its last 30 characters come
        again), "preface" ("Sure, here is the rest:"), or "refuse" with a 400. `instruct` says the same of an assistant
        message that is followed by the client's instruction to go on from it.
        """
        if prefill not in _PREFILL:
            raise ValueError(f"prefill is one of {_PREFILL}, not {prefill!r}")
        if instruct not in _INSTRUCT:
            raise ValueError(f"instruct is one of {_INSTRUCT}, not {instruct!r}")
        if not all(isinstance(call, Mapping) and isinstance(call.get("name"), str) for call in tool_calls or ()):
            raise ValueError(f"each of tool_calls is {{'name': ..., 'arguments': ...}}, not so in {tool_calls!r}")
        self._state.scripts[model] = Script(
            text=text,
            tokens=tokens,
            reasoning=reasoning,
            tool_calls=tool_calls,
            images=images,
            audio=audio,
            annotations=annotations,
            finish_reason=finish_reason,
            refusal=refusal,
            logprobs=logprobs,
            usage=usage,
            served_as=served_as,
            prefill=prefill,
            instruct=instruct,
        )

    def clear_replies(self) -> None:
        """Forget all scripted answers."""
        self._state.scripts.clear()

    def fault(
        self,
        kind: str,
        *,
        model: str | None = None,
        provider: str | None = None,
        requests: int | tuple[int, int | None] | None = None,
        seconds: tuple[float, float | None] | None = None,
        probability: float = 1.0,
        after_tokens: int | None = None,
        **details: Any,
    ) -> FaultHandle:
        """Set a fault: a row of `FAULTS`, for one model or (None) the whole account.

        With `provider` ("Amazon Bedrock") it is that provider's alone: the next one of the model answers in its place,
        as on OpenRouter, where the fault is an error or a refused connection and the request allows it.
        `requests` is (first, last) of the model's requests from now on, counted from 1, or how many of the first;
        `seconds` is (from, to) from now on; an end of None is open. `after_tokens` is how much of a good answer comes
        first. Of several faults that match, the one set first wins. The other details are the row's own, and errors
        also take `place="status" | "body" | "choice" | "sse"`.
        """
        if after_tokens is not None:
            details["after_tokens"] = after_tokens
        if provider is not None:
            provider = self._provider(provider, model)
        return self._state.schedule.add(kind, model, requests, seconds, probability, details, provider)

    def clear_faults(self) -> None:
        """Lift all faults."""
        self._state.schedule.clear()

    @property
    def log(self) -> list[Request]:
        """The chat requests since the last `clear`, all or the last `keep`, as they stand now."""
        return self._state.log.snapshot()

    @property
    def tally(self) -> Counter[str | None]:
        """How many chat requests met which fault (None: none) since the last `clear`, also where `keep` forgot them."""
        return self._state.log.tally()

    @property
    def spent(self) -> Decimal:
        """What all answers so far have cost, in USD."""
        return self._state.account.spent

    def count(self, model: str | None = None) -> int:
        """How many chat requests of the log came, for one model or for all."""
        return sum(model in (None, request.model) for request in self.log)

    def wait_for(self, predicate: Callable[[list[Request]], object], timeout: float = 5) -> list[Request]:
        """Block until `predicate(log)` holds, and return the log; AssertionError after `timeout` seconds.

        In a coroutine use `await_for`: a blocked loop closes no connection.
        """
        return self._state.log.wait_for(predicate, timeout)

    async def await_for(self, predicate: Callable[[list[Request]], object], timeout: float = 5) -> list[Request]:  # noqa: ASYNC109
        """`wait_for` for coroutines."""
        return await asyncio.to_thread(self.wait_for, predicate, timeout)

    def clear(self) -> None:
        """Empty the log, lift all faults, forget all scripted answers."""
        self._state.log.clear()
        self.clear_faults()
        self.clear_replies()

    def _enact(self, script: ScriptFile) -> None:
        for pace in script.pace:
            self.pace(**pace.model_dump(exclude_unset=True))
        for reply in script.replies:
            self.reply(**reply.model_dump(exclude_unset=True))
        for fault in script.faults:
            self.fault(**fault.given())

    def _provider(self, name: str, model: str | None) -> str:
        found = self._state.models.provider(name, model)
        if found is None:
            names = self._state.models.providers(model)
            of = f" of {model}" if model else ""
            raise ValueError(f"there is no provider {name!r}{of}.{near(name, names)} There are: {', '.join(names)}")
        return found

    def _run(self, listener: socket.socket, started: Future[None]) -> None:
        try:
            asyncio.run(self._serve(listener, started))
        except BaseException as failed:
            listener.close()
            if started.done():
                raise
            started.set_exception(failed)

    async def _serve(self, listener: socket.socket, started: Future[None]) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self._halt = asyncio.Event()
        config = Config(
            App(self._state),
            http=Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )
        config.load()
        state = ServerState()
        # uvicorn's own main loop ticks ten times a second, which would be the time a stop takes.
        server = await loop.create_server(lambda: Connection(config, state, {}, loop), sock=listener, backlog=1024)
        started.set_result(None)
        await self._halt.wait()
        # asyncio gives up a connection that was accepted but begins after `close`, and leaves its socket open.
        with suppress(NotImplementedError):
            loop.remove_reader(listener)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        # Lets connection_lost run, which wakes every sleeping answer.
        await asyncio.sleep(0)
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=_GOODBYE_SECONDS)


def _loopback(host: str) -> str:
    try:
        if ipaddress.ip_address("127.0.0.1" if host == "localhost" else host).is_loopback:
            return "127.0.0.1" if host == "localhost" else host
    except ValueError:
        pass
    raise ValueError(f"the emulator serves on loopback only, not on {host!r}")


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sets TCP_NODELAY only where it is; without that every answer takes 40 ms.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/api/v1"
