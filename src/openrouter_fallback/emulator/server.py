"""The public class `Emulator`: a server in its own thread, and the methods that script its answers and faults."""

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


def random_key() -> str:
    """A random API key in OpenRouter's format."""
    return f"sk-or-v1-{secrets.token_hex(32)}"


class Emulator:
    """An OpenRouter API on loopback with scripted answers and faults.

        with Emulator() as emulator:
            emulator.fault("rate_limit_exceeded", model="openai/gpt-5.1", retry_after=3)
            ...  # an OpenAI-compatible client with emulator.base_url and emulator.api_key

    The server listens on loopback only and ends with the process. Arguments:

    - `models`: the models to serve, as ids or as entries of `GET /models`. A model can do what its entry says, and no
      more. `MODELS` are the bundled models. None serves the bundled models and any other `author/name`, and every model
      can do everything.
    - `api_key`: the only accepted key; a request with another key gets 401. None makes a random key.
    - `latency`, `token_interval`: seconds to the first token, and between two tokens. `jitter` (0 to 1) is the share by
      which each delay varies.
    - `comments`: the number of keep-alive comments at the start of a stream.
    - `coalesce`: send up to 32 events of a stream in one write.
    - `credits`: USD on the account. When the credits are spent, a model that is not free answers 402.
    - `strict`: check each history by the rules of the model's family, refuse it with the provider's own error, and
      write tool-call ids and signed reasoning in the family's form. `docs/emulator.md` lists the rules.
    - `script`: the path of a YAML file with faults, answers and paces. They apply from `start` on.
    - `seed`: the seed of all random decisions. `clock`: the time of faults, in seconds.
    - `keep`: the number of requests in the log; None keeps all.
    - `host`: a loopback address (else ValueError). `port`: the port; 0 takes a free port.
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
            api_key=random_key() if api_key is None else api_key,
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
        self._refusing: socket.socket | None = None

    def start(self) -> Emulator:
        """Start the server. It accepts connections when this method returns. A restart uses the same port."""
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
            self._apply(script)
        return self

    def stop(self) -> None:
        """Stop the server at once. Open connections are closed, also in the middle of a stream. May be called twice."""
        thread, loop, halt = self._thread, self._loop, self._halt
        if thread is not None and loop is not None and halt is not None:
            self._state.stopping = True
            loop.call_soon_threadsafe(halt.set)
            thread.join()
            self._thread = self._loop = self._halt = None
        if self._refusing is not None:
            self._refusing.close()
            self._refusing = None

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
        """The base URL for a client, in place of `https://openrouter.ai/api/v1`."""
        if not self._port:
            raise RuntimeError("the emulator has no port yet: call start(), or use it as a context manager")
        return _url(self._host, self._port)

    @property
    def api_key(self) -> str:
        """The only key that the emulator accepts: the given key, else a random key that a web page cannot guess."""
        return self._state.api_key

    def refused_url(self) -> str:
        """A base URL at which every connection is refused. Its port stays reserved until `stop`."""
        if self._refusing is None:
            self._refusing = _bound(self._host, 0)
        return _url(self._host, self._refusing.getsockname()[1])

    def pace(
        self,
        *,
        model: str | None = None,
        latency: float | None = None,
        token_interval: float | None = None,
        jitter: float | None = None,
    ) -> None:
        """Change the delays (seconds) and the jitter (0 to 1) of future answers.

        `model` None sets the pace of every model without a pace of its own. Raises ValueError for an invalid jitter.
        """
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
        """Script the answers of a model. `model` None scripts every model without a script of its own.

        An omitted argument keeps the default answer: a sentence, and calls of the tools that the prompt names.
        Raises ValueError for an invalid `prefill`, `instruct` or `tool_calls`.

        - `tokens`: the exact number of tokens of the text.
        - `reasoning`: the reasoning text; True for always, False for never.
        - `tool_calls`: `{"name", "arguments", "id"?}`. The arguments are a JSON value, or a string that is sent as is.
        - `usage`: figures that replace those of the answer's `usage`.
        - `served_as`: the `model` of the answer.
        - `prefill`: the answer to a request that ends with an assistant message: "continue" the message, "restart" from
          the beginning, "overlap" (repeat the last 30 characters), "preface" (begin with "Sure, here is the rest:"), or
          "refuse" with a 400.
        - `instruct`: the same for an assistant message that is followed by the client's instruction to continue it.
        """
        if prefill not in _PREFILL:
            raise ValueError(f"prefill is one of {_PREFILL}, not {prefill!r}")
        if instruct not in _INSTRUCT:
            raise ValueError(f"instruct is one of {_INSTRUCT}, not {instruct!r}")
        if not all(isinstance(call, Mapping) and isinstance(call.get("name"), str) for call in tool_calls or ()):
            raise ValueError(f"each of tool_calls is {{'name', 'arguments'}}, not so in {tool_calls!r}")
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
        """Remove all scripted answers."""
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
        """Set a fault of the table `FAULTS`, for one model, or with `model` None for all models.

        If several faults match a request, the fault that was set first is played. Raises ValueError for an unknown kind
        or value, TypeError for an unknown detail.

        - `provider` ("Amazon Bedrock"): the fault concerns this provider only. The model's next provider answers
          instead, as on OpenRouter, if the fault is an error or a refused connection and the request allows fallbacks.
        - `requests`: (first, last) of the model's requests from now on, counted from 1; or a number n for the first n.
        - `seconds`: (from, to), counted from now. An end of None is open.
        - `probability`: the share (0 to 1) of the matching requests that get the fault.
        - `after_tokens`: the number of tokens of a good answer before the fault.
        - `details`: the other details of the kind. Errors also take `place="status" | "body" | "choice" | "sse"`.
        """
        if after_tokens is not None:
            details["after_tokens"] = after_tokens
        if provider is not None:
            provider = self._provider(provider, model)
        return self._state.schedule.add(kind, model, requests, seconds, probability, details, provider)

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._state.schedule.clear()

    @property
    def log(self) -> list[Request]:
        """Snapshots of the chat requests since the last `clear`: all, or the last `keep`."""
        return self._state.log.snapshot()

    @property
    def tally(self) -> Counter[str | None]:
        """The number of chat requests by fault (None: no fault) since the last `clear`, independent of `keep`."""
        return self._state.log.tally()

    @property
    def spent(self) -> Decimal:
        """The cost of all answers so far, in USD."""
        return self._state.account.spent

    def count(self, model: str | None = None) -> int:
        """The number of chat requests in the log, for one model or for all."""
        return sum(model in (None, request.model) for request in self.log)

    def wait_for(self, predicate: Callable[[list[Request]], object], timeout: float = 5) -> list[Request]:
        """Block until `predicate(log)` is true, and return the log. Raises AssertionError after `timeout` seconds.

        In a coroutine use `await_for`: a blocked event loop cannot close the client's connections.
        """
        return self._state.log.wait_for(predicate, timeout)

    async def await_for(self, predicate: Callable[[list[Request]], object], timeout: float = 5) -> list[Request]:  # noqa: ASYNC109
        """`wait_for` for coroutines."""
        return await asyncio.to_thread(self.wait_for, predicate, timeout)

    def clear(self) -> None:
        """Empty the log, and remove all faults and all scripted answers."""
        self._state.log.clear()
        self.clear_faults()
        self.clear_replies()

    def _apply(self, script: ScriptFile) -> None:
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
        # uvicorn's own main loop wakes ten times a second, so a stop would take up to 0.1 s.
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
        # Let connection_lost run: it wakes every sleeping answer.
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
    # asyncio sets TCP_NODELAY only if the socket names its protocol. Without TCP_NODELAY every answer takes 40 ms.
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
