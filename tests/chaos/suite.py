"""Calls against a hostile server, from threads and loops, through the core and both frameworks.

Each call sends a nonce, and the correct answer is a text derived from the nonce. A call must end with the complete
correct answer or with a `FallbackError`. Any other end is a finding.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import pickle
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any
from unittest.mock import patch

from langchain_core.messages import HumanMessage
from llama_index.core.llms import ChatMessage

from langchain_openrouter_fallback import ChatOpenRouterFallback
from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback import EndpointConfig, FallbackClient, FallbackConfig, FallbackError, Settings
from openrouter_fallback.events import Event

from ..support.byteserver import Asked, ByteServer, Step
from ..support.leaks import leaks
from . import faults

KEY = "sk-or-v1-0123456789abcdef"
OTHER_KEY = "tok~Other.9-xx_foreign+/="
TOKEN = "header-of-an-endpoint.81!"
SECRETS = (KEY, OTHER_KEY, TOKEN)
AT_A_TIME = 8
_FAULTY, _DOOMED = 0.7, 0.15
"""The share of faulty answers, and the share of calls whose answers are all faulty."""
_LOGGERS = (
    "openrouter_fallback",
    "langchain_openrouter_fallback",
    "llamaindex_openrouter_fallback",
    "httpcore2",
    "asyncio",
)


def text_for(nonce: str) -> str:
    """The only correct answer to a nonce: 4 to 40 words that no other nonce has."""
    dice = Random(f"text {nonce}")
    words = [f"{nonce}/{dice.getrandbits(24):x}" for _ in range(dice.randint(4, 40))]
    return f"answer to {nonce}: {' '.join(words)} naïve 東京 end"


class Hostile:
    """The script of the server. The seed, the nonce and the number of its requests so far determine the answer."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._came: Counter[str] = Counter()
        self.used: Counter[str] = Counter()

    def __call__(self, asked: Asked) -> Iterable[Step]:
        nonce = next(
            str(word)
            for message in asked.body["messages"]
            for word in _text(message["content"]).split()
            if word.startswith("nonce-")
        )
        self._came[nonce] += 1
        dice = Random(f"{self._seed} {nonce} {self._came[nonce]}")
        doomed = Random(f"{self._seed} {nonce}").random() < _DOOMED
        fault = dice.choice(faults.FAULTS) if doomed or dice.random() < _FAULTY else faults.healthy
        self.used[fault.__name__] += 1
        said = next((_text(one["content"]) for one in asked.body["messages"] if one["role"] == "assistant"), "")
        text = text_for(nonce)
        if said and text.startswith(said):
            text = text[len(said) :]
        stream = bool(asked.body.get("stream"))
        keys = [asked.headers.get("authorization", "").removeprefix("Bearer "), asked.headers.get("x-token")]
        key = dice.choice([key for key in keys if key])
        return [
            step.replace(faults.MARK, key.encode()) if isinstance(step, bytes) else step
            for step in fault(dice, _body(dice, nonce, text, stream=stream), stream)
        ]


def _text(content: Any) -> str:
    return content if isinstance(content, str) else " ".join(str(part.get("text", "")) for part in content or ())


def _body(dice: Random, nonce: str, text: str, *, stream: bool) -> list[bytes]:
    import orjson

    if not stream:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        return [orjson.dumps({"id": f"gen-{nonce}", "model": "a/a", "choices": [choice], "usage": _USAGE})]
    size = dice.choice((7, 40, 1000))
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    deltas: list[dict[str, Any]] = [{"delta": {"content": part}, "finish_reason": None} for part in parts]
    deltas.append({"delta": {}, "finish_reason": "stop"})
    chunks: list[dict[str, Any]] = [{"id": f"gen-{nonce}", "choices": [{"index": 0, **delta}]} for delta in deltas]
    chunks.append({"id": f"gen-{nonce}", "choices": [], "usage": _USAGE})
    return [b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks] + [b"data: [DONE]\n\n"]


_USAGE = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20, "cost": 0.00001}


@dataclass
class Findings:
    """The results of the calls. `wrong` must stay empty."""

    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    longest: tuple[float, str] = (0.0, "")
    """The duration of the longest call in seconds, and the call."""
    events: int = 0
    _kept: list[tuple[str, BaseException]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, surface: str, nonce: str, text: str) -> None:
        with self._lock:
            self.answered += 1
            if text != text_for(nonce):
                self.wrong.append(f"{surface} {nonce}: another answer: {text[:200]!r}")

    def error(self, surface: str, nonce: str, error: BaseException) -> None:
        with self._lock:
            self.failed[type(error).__name__] += 1
            self._kept.append((f"{surface} {nonce}", error))
        if not isinstance(error, FallbackError):
            self.wrong.append(f"{surface} {nonce}: {type(error).__name__}: {error}"[:500])
        self._search(f"{surface} {nonce}", str(error), repr(error), vars(error), repr(vars(error)), pickle.dumps(error))

    def event(self, event: Event) -> None:
        """Search an event of a client for secrets. This method is a subscriber."""
        with self._lock:
            self.events += 1
        self._search(f"event {type(event).__name__}", event, repr(event), pickle.dumps(event))

    def took(self, seconds: float, surface: str, nonce: str) -> None:
        """Record the duration of a call."""
        with self._lock:
            self.longest = max(self.longest, (seconds, f"{surface} {nonce}"))

    def search_kept(self) -> None:
        """Search all kept errors and everything that they refer to: causes, frames and their locals, the client.

        Call this when no call is active. The client refers to its connections, and the bytes that an active call sends
        there do not belong to the error.
        """
        for where, error in self._kept:
            self._search(where, error)
        self._kept.clear()

    def _search(self, where: str, *roots: object) -> None:
        self.wrong += [f"{where}: a key at {path}" for path in leaks(roots, SECRETS)[:3]]


class _Keyless(logging.Handler):
    """A log handler that searches all records, from DEBUG on, for API keys."""

    def __init__(self, findings: Findings) -> None:
        super().__init__(logging.DEBUG)
        self._findings = findings

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        # The HTTP library's own log shows the headers of responses as the server sent them.
        theirs = record.name.startswith("httpcore2") and "receive_response_headers" in text
        if not theirs and any(secret in text for secret in SECRETS):
            self._findings.wrong.append(f"a key in the log: {record.name} {text[:100]}")


@contextmanager
def _logged(findings: Findings) -> Iterator[None]:
    handler = _Keyless(findings)
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


def _config(url: str) -> FallbackConfig:
    return FallbackConfig(
        default_chain=("a/a", "other:b", "a/c"),
        endpoints={
            "openrouter": EndpointConfig(url),
            "other": EndpointConfig(url, api_key=OTHER_KEY, headers={"x-token": TOKEN}),
        },
        settings=Settings(retry_budget=None, catalog="never", mid_stream="continue"),
    )


class Surfaces:
    """The kinds of calls. Each method returns the text of the answer."""

    def __init__(self, url: str) -> None:
        self.client = FallbackClient(config=_config(url), api_key=KEY)
        self.chat_model = ChatOpenRouterFallback(config=_config(url), api_key=KEY)
        self.llm = OpenRouterFallback(config=_config(url), api_key=KEY)
        self.clients = [self.client, self.chat_model.client, self.llm.client]
        self.sync: dict[str, Callable[[str], str]] = {
            "chat": lambda nonce: self.client.chat(nonce).text,
            "stream": self._stream,
            "langchain invoke": lambda nonce: str(self.chat_model.invoke([HumanMessage(nonce)]).text),
            "langchain stream": lambda nonce: "".join(str(one.text) for one in self.chat_model.stream(nonce)),
            "llamaindex chat": lambda nonce: str(self.llm.chat([ChatMessage(nonce)]).message.content),
            "llamaindex stream": lambda nonce: "".join(
                one.delta or "" for one in self.llm.stream_chat([ChatMessage(nonce)])
            ),
        }
        self.asynchronous: dict[str, Callable[[str], Awaitable[str]]] = {
            "achat": self._achat,
            "astream": self._astream,
            "langchain ainvoke": self._ainvoke,
            "langchain astream": self._langchain_astream,
            "llamaindex achat": self._llm_achat,
            "llamaindex astream": self._llm_astream,
        }

    def _stream(self, nonce: str) -> str:
        with self.client.stream(nonce) as stream:
            return "".join(piece.text for piece in stream)

    async def _achat(self, nonce: str) -> str:
        return (await self.client.achat(nonce)).text

    async def _astream(self, nonce: str) -> str:
        async with self.client.astream(nonce) as stream:
            return "".join([piece.text async for piece in stream])

    async def _ainvoke(self, nonce: str) -> str:
        return str((await self.chat_model.ainvoke([HumanMessage(nonce)])).text)

    async def _langchain_astream(self, nonce: str) -> str:
        return "".join([str(one.text) async for one in self.chat_model.astream(nonce)])

    async def _llm_achat(self, nonce: str) -> str:
        return str((await self.llm.achat([ChatMessage(nonce)])).message.content)

    async def _llm_astream(self, nonce: str) -> str:
        return "".join([one.delta or "" async for one in await self.llm.astream_chat([ChatMessage(nonce)])])


def run(calls: int, seed: int, *, threads: int = 4) -> tuple[Findings, Counter[str]]:
    """Make `calls` calls, half from threads and half from loops in threads. A leaked resource is a finding too."""
    findings = Findings()
    before = _held()
    hostile = Hostile(seed)
    with (
        patch("openrouter_fallback.decision.rounds.RECONNECT_SECONDS", 0.001),
        patch("openrouter_fallback.decision.learning.BACKOFF_SECONDS", 0.001),
        patch("openrouter_fallback.decision.deadlines.USAGE_SECONDS", 0.2),
        ByteServer(hostile, keep=False) as server,
        _logged(findings),
    ):
        surfaces = Surfaces(server.base_url)
        for client in surfaces.clients:
            client.subscribe(findings.event)
        nonces = iter([f"nonce-{seed}-{number}" for number in range(calls)])
        lock = threading.Lock()

        def take() -> str | None:
            with lock:
                nonce = next(nonces, None)
            if nonce is not None and nonce.endswith("0"):
                for client in surfaces.clients:
                    client.reset()  # else the client would skip the failing models
            return nonce

        with ThreadPoolExecutor(threads) as pool:
            jobs = [
                pool.submit(_in_thread if number % 2 else _in_loop, take, surfaces, findings)
                for number in range(threads)
            ]
            for job in jobs:
                job.result()
        findings.search_kept()
        for client in surfaces.clients:
            if client.spend().held:
                findings.wrong.append(f"money is held still: {client.spend().held}")
            client.close()
    findings.wrong += _left(before)
    return findings, hostile.used


def _in_thread(take: Callable[[], str | None], surfaces: Surfaces, findings: Findings) -> None:
    while (nonce := take()) is not None:
        surface = Random(nonce).choice(list(surfaces.sync))
        begun = time.monotonic()
        try:
            findings.answer(surface, nonce, surfaces.sync[surface](nonce))
        except Exception as error:
            findings.error(surface, nonce, error)
        findings.took(time.monotonic() - begun, surface, nonce)


def _in_loop(take: Callable[[], str | None], surfaces: Surfaces, findings: Findings) -> None:
    async def one(nonce: str) -> None:
        surface = Random(nonce).choice(list(surfaces.asynchronous))
        begun = time.monotonic()
        try:
            findings.answer(surface, nonce, await surfaces.asynchronous[surface](nonce))
        except Exception as error:
            findings.error(surface, nonce, error)
        findings.took(time.monotonic() - begun, surface, nonce)

    async def some() -> bool:
        batch = [nonce for _ in range(AT_A_TIME * 4) if (nonce := take()) is not None]
        slots = asyncio.Semaphore(AT_A_TIME)

        async def limited(nonce: str) -> None:
            async with slots:
                await one(nonce)

        await asyncio.gather(*map(limited, batch))
        for client in surfaces.clients:
            await client.aclose()
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        if left:
            findings.wrong.append(f"tasks are left: {left}")
        return bool(batch)

    while asyncio.run(some()):
        pass


def _held() -> tuple[set[str], int]:
    gc.collect()
    return {thread.name for thread in threading.enumerate()}, len(os.listdir("/proc/self/fd"))


def _left(before: tuple[set[str], int], patience: float = 10.0) -> list[str]:
    """The threads and files that did not exist before. Waits up to `patience` seconds for those that are closing."""
    until = time.monotonic() + patience
    while True:
        threads, files = _held()
        # The thread with the event loop of synchronous calls lives as long as the process.
        new = {name for name in threads - before[0] if "openrouter-fallback" not in name}
        if (not new and files <= before[1] + 8) or time.monotonic() > until:
            break
        threading.Event().wait(0.05)
    found = [f"threads are left: {sorted(new)}"] if new else []
    return [*found, f"files are left: {before[1]} before, {files} now"] if files > before[1] + 8 else found
