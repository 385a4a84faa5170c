"""What a user can meet, made to happen: each row is one mistake or outage, and says its message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage

from langchain_openrouter_fallback import ChatOpenRouterFallback
from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback import FallbackClient, FallbackError
from openrouter_fallback.call.log import LogLines
from openrouter_fallback.composition import parts_of
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.events import BreakerClosed

A, B = "openai/gpt-5.1", "anthropic/claude-sonnet-4.5"
NOWHERE = "http://127.0.0.1:9/v1"


class Outage(NamedTuple):
    """A call that fails; `call` is the call's arguments, `config` the client's. Only faulty models are in the chain."""

    fault: str
    details: Mapping[str, Any] = {}
    call: Mapping[str, Any] = {}
    config: Mapping[str, Any] = {}
    models: Sequence[str] = (A, B)
    stream: bool = False


_JSON = {"response_format": {"type": "json_object"}}

OUTAGES: Mapping[str, Outage] = {
    "auth": Outage("authentication"),
    "credits": Outage("payment_required"),
    "rate limit": Outage("rate_limit_exceeded", {"retry_after": 30}, {"total_timeout": 5}),
    "rate limit without a word": Outage("rate_limit_exceeded", call={"total_timeout": 0.4}),
    "overloaded": Outage("provider_overloaded", call={"total_timeout": 0.4}),
    "unavailable": Outage("server", call={"total_timeout": 0.4}),
    "region": Outage("region_restricted"),
    "privacy": Outage("privacy_restricted"),
    "guardrail": Outage("guardrail"),
    "moderation": Outage("moderation"),
    "content policy": Outage("content_policy_violation"),
    "content filter": Outage("content_filter"),
    "context": Outage("context_length_exceeded"),
    "no such model": Outage("model_not_found"),
    "deprecated": Outage("model_deprecated"),
    "no tools": Outage("no_tool_support"),
    "bad image": Outage("invalid_image"),
    "rejected": Outage("rejected"),
    "wrong request": Outage("invalid_request"),
    "empty": Outage("empty", config={"max_retries_per_model": 1}),
    "used up": Outage("reasoning_only", {"finish": "length"}, config={"max_retries_per_model": 1}),
    "ended early": Outage("reasoning_only", {"finish": "network_error"}, config={"max_retries_per_model": 1}),
    "no choices": Outage("no_choices", config={"max_retries_per_model": 1}),
    "no JSON": Outage("bad_json", config={"max_retries_per_model": 1}),
    "html": Outage("html", config={"max_retries_per_model": 1}),
    "truncated": Outage("truncated", {"after_tokens": 3}, config={"max_retries_per_model": 1}),
    "reset": Outage("reset_mid", {"after_tokens": 3}, config={"max_retries_per_model": 1}),
    "reset at once": Outage("reset", config={"max_retries_per_model": 1}),
    "cut tool call": Outage("cut_tool_call", call={"tools": [{"type": "function", "function": {"name": "f"}}]}),
    "not the JSON asked for": Outage("healthy", call=_JSON),
    "silence": Outage("silence", call={"timeout": 0.05}, config={"max_retries_per_model": 1}),
    "stall": Outage("stall", {"after_tokens": 3}, {"stall_timeout": 0.05}, {"max_retries_per_model": 1}),
    "deadline": Outage("silence", call={"total_timeout": 0.1}, models=(A,)),
    "turned down": Outage("healthy", call={"accept": lambda _: False}),
    "broken stream": Outage("reset_mid", {"after_tokens": 3}, {"mid_stream": "raise"}, stream=True),
    "limit": Outage("healthy", config={"spend_limit_usd": {"per_call": 0.00001}}),
    "unknown price": Outage("healthy", config={"spend_limit_usd": {"per_day": 1}}, models=("own/model",)),
    "too dear": Outage("healthy", call={"max_price": 0.01}),
    "no budget": Outage("provider_overloaded", config={"retry_budget": 0}, call={"total_timeout": 5}),
}


def fail(outage: Outage, emulator: Emulator) -> None:
    """Make the call of a row."""
    if outage.fault == "healthy":
        emulator.reply("Certainly not JSON.")
    else:
        emulator.fault(outage.fault, **outage.details)
    client = FallbackClient(
        list(outage.models), base_url=emulator.base_url, api_key=emulator.api_key, settings=outage.config
    )
    client.refresh_catalog()
    with client:
        if outage.stream:
            list(client.stream("Hello", **outage.call))
        else:
            client.chat("Hello", **outage.call)


FILES: Mapping[str, str] = {
    "nothing": "",
    "a list": "- openai/gpt-5.1\n",
    "a tab": "fallback:\n\tdefault_chain: [a/b]\n",
    "a bracket": "fallback:\n  default_chain: [a/b\n",
    "unknown key": "fallback:\n  default_chain: [openai/gpt-5.1]\n  setings: {}\n",
    "beside": "fallback:\n  default_chain: [openai/gpt-5.1]\nsettings: {}\n",
    "misspelt": "falback:\n  default_chain: [openai/gpt-5.1]\n",
    "twice": "fallback:\n  default_chain: [openai/gpt-5.1]\n  default_chain: [a/b]\n",
    "no models": "fallback:\n  settings: {min_samples: 3}\n",
    "empty chain": "fallback:\n  default_chain: []\n",
    "one entry": "fallback:\n  default_chain: openai/gpt-5.1\n",
    "no prefix": "fallback:\n  default_chain: [gpt-5.1]\n",
    "no endpoint": "fallback:\n  default_chain: ['groq:llama']\n",
    "model twice": "fallback:\n  default_chain: [a/b, a/b]\n",
    "no chain uses it": "fallback:\n  default_chain: [openai/gpt-5.1]\n  models: {openia/gpt-5.1: {timeout: 3}}\n",
    "yaml boolean": "fallback:\n  default_chain: [openai/gpt-5.1]\n  task_chains: {on: [a/b]}\n",
    "a setting of another library": "fallback:\n  default_chain: [a/b]\n  settings: {timeout: 3}\n",
    "a word for a number": "fallback:\n  default_chain: [a/b]\n  settings: {min_samples: three}\n",
    "out of bounds": "fallback:\n  default_chain: [a/b]\n  settings: {skip_threshold: 3}\n",
    "no such choice": "fallback:\n  default_chain: [a/b]\n  settings: {policy: smrt}\n",
    "no such kind": "fallback:\n  default_chain: [a/b]\n  settings: {on_failure: {rate_limit: next}}\n",
    "tier": "fallback:\n  cost_tiers: {cheap: [a/b]}\n",
    "a key for a name": "fallback:\n  default_chain: [a/b]\n"
    "  endpoints: {x: {base_url: 'http://x', api_key_env: sk-1}}\n",
    "credentials": "fallback:\n  default_chain: [a/b]\n  endpoints: {x: {base_url: 'https://me:pw@host/v1'}}\n",
    "a request's URL": "fallback:\n  default_chain: [a/b]\n"
    "  endpoints: {x: {base_url: 'http://x/v1/chat/completions'}}\n",
    "no URL": "fallback:\n  default_chain: [a/b]\n  endpoints: {x: {base_url: host/v1}}\n",
    "authorization": "fallback:\n  default_chain: [a/b]\n"
    "  endpoints: {x: {base_url: 'http://x', headers: {Authorization: x}}}\n",
    "a store": "fallback:\n  default_chain: [a/b]\n  settings: {health_store: redis}\n",
    "dollars": "fallback:\n  default_chain: [a/b]\n  settings: {spend_limit_usd: {per_day: 0}}\n",
    "missing": "fallback:\n  default_chain: [a/b]\n  endpoints: {x: {}}\n",
}


def _circuit(client: FallbackClient) -> None:
    """A circuit that opens, and the line of one that has closed."""
    with FallbackClient([A, B], base_url=NOWHERE, api_key="sk-or-x") as gone:
        for _ in range(3):
            with suppress(FallbackError):
                gone.chat("Hello", total_timeout=0.2)
    LogLines().breaker(BreakerClosed(1, A, cause="overloaded", count=3, seconds=240.0))


def _no_slot(client: FallbackClient) -> None:
    """A call of a client that has as many requests under way as it may have."""

    async def call() -> None:
        slots = parts_of(client).runtime.connection_slots()
        while not slots.locked():
            await slots.acquire()
        await client.achat("Hello", total_timeout=0.05)

    asyncio.run(call())


def _disabled(client: FallbackClient) -> None:
    client.disable(A)
    client.chat("Hello")


Deed = Callable[[FallbackClient], object]
DEEDS: Mapping[str, Deed] = {
    "model=": lambda client: client.chat("Hello", model=A),
    "system=": lambda client: client.chat("Hello", system="Be brief"),
    "a misspelt parameter": lambda client: client.chat("Hello", temprature=1),
    "client, timeout=": lambda _: FallbackClient([A], timeout=3),  # type: ignore[call-arg]
    "copy, timeout=": lambda client: client.with_options(timeout=3),  # type: ignore[call-arg]
    "answer.content": lambda client: client.chat("Hello").content,  # type: ignore[attr-defined]
    "client.chat.completions": lambda client: client.chat.completions,  # type: ignore[attr-defined]
    "stream=": lambda client: client.chat("Hello", stream=True),
    "empty": lambda client: client.chat([]),
    "no message": lambda client: client.chat(["Hello"]),  # type: ignore[list-item]
    "a number": lambda client: client.chat(7),  # type: ignore[arg-type]
    "not JSON": lambda client: client.chat("Hello", tools=[object()]),
    "one model": lambda client: client.chat("Hello", models=A),
    "no models": lambda client: client.chat("Hello", models=[]),
    "twice": lambda client: client.chat("Hello", models=[A, A]),
    "tier": lambda client: client.chat("Hello", max_cost_tier="cheap"),
    "price": lambda client: client.chat("Hello", max_price={"input": 1}),
    "mid_stream": lambda client: client.chat("Hello", mid_stream="go"),
    "timeout": lambda client: client.chat("Hello", timeout=0),
    "both": lambda _: FallbackClient([A], config={"default_chain": [A]}),
    "a string": lambda _: FallbackClient(A),
    "nothing": lambda _: FallbackClient(),
    "header": lambda _: FallbackClient([A], headers={"Authorization": "x"}),
    "no key": lambda _: FallbackClient([A]).chat("Hello"),
    "a key with quotes": lambda _: FallbackClient([A], api_key='"sk-or-v1-x"').chat("Hello"),
    "an endpoint without a key": lambda _: FallbackClient(
        config={
            "default_chain": ["groq:x"],
            "endpoints": {"groq": {"base_url": NOWHERE, "api_key_env": "GROQ_API_KEY"}},
        }
    ).chat("Hello"),
    "nobody there": lambda _: FallbackClient([A], base_url=NOWHERE, api_key="sk-or-x").chat("Hi", total_timeout=0.2),
    "no list": lambda _: FallbackClient([A], base_url=NOWHERE, api_key="sk-or-x").refresh_catalog(),
    "no file": lambda _: FallbackClient.from_config("nowhere.yaml"),
    "no Redis": lambda _: FallbackClient([A], settings={"health_store": "redis://127.0.0.1:9"}).health(refresh=True),
    "no endpoint": lambda client: client.catalog.get("groq:x") or client.chain(models=["groq:x"]),
    "HTTP's header": lambda _: FallbackClient([A], headers={"Host": "x"}),
    "no header": lambda _: FallbackClient([A], headers={"X Name": "x"}),
    "a title": lambda _: FallbackClient([A], app_title="a\nb"),
    "no chain has it": lambda client: client.disable("openai/gpt-5.l"),
    "a provider of none": lambda _: FallbackClient(
        config={"default_chain": [A], "task_chains": {"fast": ["meta-llama/llama-3.3-70b-instruct"]}}
    ).route(primary_provider="meta-llama"),
    "a header's value": lambda _: FallbackClient([A], headers={"X-Name": "a\nb"}),
    "a misspelt argument": lambda client: client.chat("Hello", tsk="coding"),
    "unknown task": lambda client: client.chat("Hello", task="nowhere"),
    "unknown provider": lambda client: client.chat("Hello", primary_provider="nobody"),
    "a subscriber": lambda client: (client.subscribe(lambda _: 1 / 0), client.chat("Hello")),
    "pickle": lambda client: client.__reduce__(),
    "unread": lambda client: client.stream("Hello").completion,
    "no slot": _no_slot,
    "all disabled": _disabled,
    "a circuit": _circuit,
    "a circuit, by hand": lambda _: LogLines().breaker(BreakerClosed(0, A, cause="overloaded", seconds=240.0)),
    "langchain argument": lambda _: ChatOpenRouterFallback(models=[A], temprature=1),  # type: ignore[call-arg]
    "langchain models": lambda _: ChatOpenRouterFallback(models=[A], model=A),
    "langchain milliseconds": lambda _: ChatOpenRouterFallback(models=[A], timeout=30000),
    "langchain block": lambda _: ChatOpenRouterFallback(models=[A], api_key="x").invoke(
        [HumanMessage([{"type": "tool_result"}])]
    ),
    "langchain tool": lambda _: ChatOpenRouterFallback(models=[A], api_key="x").invoke("Hi", tools=[7]),
    "langchain left out": lambda _: ChatOpenRouterFallback(models=[A], api_key="x").invoke(
        [AIMessage([{"type": "server_tool_use"}])], tools=[7]
    ),
    "langchain exceptions": lambda _: ChatOpenRouterFallback.from_chat_model(
        FakeListChatModel(responses=["x"]).with_fallbacks([], exceptions_to_handle=(KeyError,))
    ),
    "langchain schema": lambda _: ChatOpenRouterFallback(models=[A], api_key="x").invoke("Hi", response_format=int),
    "langchain taken over": lambda _: ChatOpenRouterFallback.from_chat_model("x"),  # type: ignore[arg-type]
    "llamaindex format": lambda _: OpenRouterFallback([A], api_key="x").complete("Hi", response_format=int),
    "langchain stream": lambda _: list(ChatOpenRouterFallback(models=[A], api_key="x").stream("Hi", n=2)),
    "llamaindex argument": lambda _: OpenRouterFallback([A], temprature=1),  # type: ignore[call-arg]
}

COMMANDS: Sequence[Sequence[str]] = (
    ("init", "--offline"),
    ("chat", ""),
    ("route", "--taks", "coding"),
    ("check", "--needs", "toools"),
    ("drill", "--scenario", "nothing"),
    ("drill", "--report", "nowhere/report.html"),
    ("emulate", "--models", "nowhere.json"),
    ("models", "--offline"),
    ("status", "-c", "fallback.yaml"),
    ("models", "--min-context", "much"),
    ("emulate", "--script", "script.yaml"),
    ("chat", "Hello"),
    ("check", "fallback.yaml", "-c", "other.yaml"),
    ("check", "--no-ask", "-c", "redis.yaml"),
    ("serve", "-c", "fallback.yaml", "--host", "0.0.0.0"),
    ("serve", "-c", "fallback.yaml", "--api-keys-file", "fallback.yaml"),
    ("serve", "-c", "fallback.yaml", "--api-keys-file", "keys.yaml"),
)
"""Run where `fallback.yaml` is there already, without a key. The script has a misspelt kind, the keys are too short."""

NOTHING_THERE: Sequence[Sequence[str]] = (("status",), ("serve",), ("check",), ("route",))
"""Run where there is no configuration."""

WITH_A_KEY: Sequence[tuple[str | None, Sequence[str]]] = (
    (None, ("init",)),
    (None, ("chat", "Hello", "-m", "openai/gpt-51")),
    (None, ("chat", "Hello", "-m", "openai/gpt-51", "-m", A)),
    (None, ("check", "-m", "openai/gpt-51")),
    (None, ("check", "-m", "meta-llama/llama-3.3-70b-instruct", "--needs", "image")),
    (None, ("check", "--no-ask", "-m", A, "--base-url", NOWHERE)),
    ("sk-proj-1", ("check", "-m", A)),
    ("", ("check", "-m", A)),
)
"""Run where the emulator is OpenRouter, with another key than its own if one is given."""

MISSING: Mapping[str, str] = {
    "langchain_core": "import langchain_openrouter_fallback",
    "llama_index": "import llamaindex_openrouter_fallback",
    "starlette": "import openrouter_fallback.emulator",
    "prometheus_client": "import openrouter_fallback.serve",
    "redis": "from openrouter_fallback import *; FallbackClient(['a/b'], settings={'health_store': 'redis://x'}).health()",
    "opentelemetry": "from openrouter_fallback import *; FallbackClient(['a/b']).instrument()",
}
"""A package that is not installed -> what then fails."""
