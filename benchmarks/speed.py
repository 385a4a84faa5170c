"""The cost of a call compared with the openai SDK: client CPU, import time, health and machine. See README.md.

python benchmarks/speed.py [name ...] [--blocks 15] [--server fixed|emulator] [--strict]
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import runner
from runner import KEY, QUESTION, Case, Row

PROMPT = [{"role": "user", "content": QUESTION}]
ALL_ON = {"hedge": {"after": "p95"}, "retry_budget": 0.2, "mid_stream": "continue"}
BARE = {"retry_budget": None, "mid_stream": "raise"}
MODULES = ("openrouter_fallback", "openai")

CASES = (
    Case("noise-async", "bench/20", "sdk_achat", "sdk_achat", 60),
    Case("noise-sync", "bench/20", "sdk_chat", "sdk_chat", 60),
    Case("achat-20", "bench/20", "achat", "sdk_achat", 60, 0.8),
    Case("achat-20-unstreamed", "bench/20", "achat_unstreamed", "sdk_achat", 60, 0.55),
    Case("chat-20", "bench/20", "chat", "sdk_chat", 60, 1.1),
    Case("chat-20-unstreamed", "bench/20", "chat_unstreamed", "sdk_chat", 60),
    Case("astream-500", "bench/500", "astream", "sdk_astream", 4, 0.3),
    Case("stream-500", "bench/500", "stream", "sdk_stream", 4, 0.3),
    Case("astream-500-paced", "bench/500-paced", "astream", "sdk_astream", 4),
    Case("stream-500-paced", "bench/500-paced", "stream", "sdk_stream", 4),
    Case("achat-64-at-a-time", "bench/20", "achat", "sdk_achat", 192, 0.7, at_a_time=64),
    Case("astream-500-all-on", "bench/500", "astream_all_on", "astream_bare", 4, 1.1),
    Case("achat-20-all-on", "bench/20", "achat_all_on", "achat_bare", 60),
    Case("achat-20-fleet", "bench/20", "achat_fleet", "sdk_achat", 60, 0.8),
    Case("chat-20-fleet", "bench/20", "chat_fleet", "sdk_chat", 60, 1.1),
    Case("astream-500-fleet", "bench/500", "astream_fleet", "sdk_astream", 4, 0.3),
    Case("achat-500", "bench/500", "achat", "sdk_achat", 12),
    Case("achat-500-unstreamed", "bench/500", "achat_unstreamed", "sdk_achat", 12),
    Case("achat-2000", "bench/2000", "achat", "sdk_achat", 6, 3.0),
)


class Twins:
    """Both clients, with the same server. Each method makes one call."""

    def __init__(self, fleet: Mapping[str, Any], url: str, model: str) -> None:
        import openai

        from openrouter_fallback import FallbackClient

        self.model = model
        self._ours = FallbackClient([model], base_url=url, api_key=KEY)
        self._unstreamed = FallbackClient([model], base_url=url, api_key=KEY, settings={"stream_upstream": False})
        self._all_on = FallbackClient(
            [model, model.replace("bench", "other")], base_url=url, api_key=KEY, settings=ALL_ON
        )
        self._bare = FallbackClient([model, model.replace("bench", "other")], base_url=url, api_key=KEY, settings=BARE)
        self._fleet = FallbackClient([model], base_url=url, api_key=KEY, settings={**ALL_ON, **fleet})
        self._sync = openai.OpenAI(base_url=url, api_key=KEY)
        self._async = openai.AsyncOpenAI(base_url=url, api_key=KEY)
        self._body: dict[str, Any] = {"model": model, "messages": PROMPT}
        self._streamed = {**self._body, "stream": True, "stream_options": {"include_usage": True}}

    async def achat(self) -> int:
        return len((await self._ours.achat(PROMPT)).text)

    async def achat_unstreamed(self) -> int:
        return len((await self._unstreamed.achat(PROMPT)).text)

    async def sdk_achat(self) -> int:
        return len((await self._async.chat.completions.create(**self._body)).choices[0].message.content)

    async def astream(self) -> int:
        return sum([len(piece.text) async for piece in self._ours.astream(PROMPT)])

    async def astream_all_on(self) -> int:
        return sum([len(piece.text) async for piece in self._all_on.astream(PROMPT)])

    async def astream_bare(self) -> int:
        return sum([len(piece.text) async for piece in self._bare.astream(PROMPT)])

    async def achat_all_on(self) -> int:
        return len((await self._all_on.achat(PROMPT)).text)

    async def achat_bare(self) -> int:
        return len((await self._bare.achat(PROMPT)).text)

    async def achat_fleet(self) -> int:
        return len((await self._fleet.achat(PROMPT)).text)

    async def astream_fleet(self) -> int:
        return sum([len(piece.text) async for piece in self._fleet.astream(PROMPT)])

    async def sdk_astream(self) -> int:
        stream = await self._async.chat.completions.create(**self._streamed)
        return sum([len(chunk.choices[0].delta.content or "") async for chunk in stream if chunk.choices])

    def chat(self) -> int:
        return len(self._ours.chat(PROMPT).text)

    def chat_unstreamed(self) -> int:
        return len(self._unstreamed.chat(PROMPT).text)

    def chat_fleet(self) -> int:
        return len(self._fleet.chat(PROMPT).text)

    def sdk_chat(self) -> int:
        return len(self._sync.chat.completions.create(**self._body).choices[0].message.content)

    def stream(self) -> int:
        return sum(len(piece.text) for piece in self._ours.stream(PROMPT))

    def sdk_stream(self) -> int:
        stream = self._sync.chat.completions.create(**self._streamed)
        return sum(len(chunk.choices[0].delta.content or "") for chunk in stream if chunk.choices)

    async def aclose(self) -> None:
        for client in (self._ours, self._unstreamed, self._all_on, self._bare, self._fleet):
            await client.aclose()
            client.close()
        await self._async.close()
        self._sync.close()


_TAKE = {"openrouter_fallback": "openrouter_fallback.FallbackClient", "openai": "openai.OpenAI"}
"""The expression that loads the client's class. Our package imports a name on its first use."""
_MAKE = {
    "openrouter_fallback": "openrouter_fallback.FallbackClient(['a/b'], api_key='sk-or-v1-x')",
    "openai": "openai.OpenAI(api_key='x')",
}


def imports(blocks: int) -> list[Row]:
    """The CPU time of importing each package in a new interpreter with compiled bytecode, with and without a client."""
    rows = []
    with runner.fresh_interpreters() as run:

        def once(module: str, then: str) -> float:
            return run(
                f"import time; begun = time.process_time(); import {module}; {then}; print(time.process_time() - begun)"
            )

        for name, then, target in (("import", _TAKE, 0.33), ("import-and-client", _MAKE, None)):
            for module in MODULES:
                once(module, then[module])
            pairs = [tuple(once(module, then[module]) for module in MODULES) for _ in range(max(blocks, 5))]
            rows.append(Row.of_pairs(name, pairs, 1e3, target, "ms"))
    return rows


def _per_call(work: Callable[[], object], times: int = 20_000, blocks: int = 9) -> float:
    """The microseconds of one call of `work`: the median of several blocks."""
    seconds = []
    for _ in range(blocks):
        gc.collect()
        begun = time.process_time()
        for _ in range(times):
            work()
        seconds.append((time.process_time() - begun) / times)
    return statistics.median(seconds) * 1e6


def health() -> list[Row]:
    """The cost of one record and one query of health, and of one attempt's use of the health store."""
    from openrouter_fallback import HealthTracker
    from openrouter_fallback.health import HealthScopes, MemoryHealth, Rules

    tracker = HealthTracker()
    store = MemoryHealth(Rules(), lambda: 0.5)
    target = HealthScopes("bench/20", "openrouter", "openrouter#")
    permit = store.begin(target, 0.0)
    assert permit is not None
    store.success(permit, 0.0)
    return [
        Row("health-record", _per_call(lambda: tracker.record_success("bench/20")), target=2.0),
        Row("health-query", _per_call(lambda: tracker.should_skip("bench/20")), target=2.0),
        Row("health-standing", _per_call(lambda: store.status_of(target, 2.0)), target=2.0),
        Row("health-begin", _per_call(lambda: store.begin(target, 2.0))),
        Row("health-success", _per_call(lambda: store.success(permit, 2.0))),
    ]


def machine() -> list[Row]:
    """The cost of the machine for one call of a chain of three models: with the first answer, and with one failover."""
    from openrouter_fallback.config.models import FallbackConfig
    from openrouter_fallback.decision.commands import Limits
    from openrouter_fallback.decision.failover import Failover
    from openrouter_fallback.failures.kinds import Failure, FailureKind
    from openrouter_fallback.failures.policy import policy
    from openrouter_fallback.health import MemoryHealth, Rules
    from openrouter_fallback.routes.choice import Choice
    from openrouter_fallback.routes.needs import RequestTraits
    from openrouter_fallback.routes.router import Router

    store = MemoryHealth(Rules(), lambda: 0.5)
    router = Router(FallbackConfig(default_chain=("a/a", "b/b", "c/c")), store)
    accounts = {"openrouter": "openrouter#"}
    rules, limits, facts, choice = policy("smart", {}), Limits(), RequestTraits(), Choice()
    full = Failure(FailureKind.RATE_LIMITED, "slow down", status=429)

    def decide(*, failing: bool) -> None:
        plan = router.plan(choice, 0.0, accounts)
        call = Failover(plan.candidates, rules, store, limits, facts, 0.0, lambda: 0.5)
        call.begin(0.0)
        if failing:
            call.failed(full, 0.0)
            store.enable(plan.candidates[0].target)
        call.first_token(0.0)
        call.succeeded(0.0)

    return [
        Row("machine-answered", _per_call(lambda: decide(failing=False), 2_000)),
        Row("machine-failover", _per_call(lambda: decide(failing=True), 2_000)),
    ]


GROUPS: dict[str, Callable[[int], list[Row]]] = {
    "import": imports,
    "health": lambda blocks: health(),
    "machine": lambda blocks: machine(),
}


def main() -> int:
    parser = runner.arguments(__doc__, [*(case.name for case in CASES), *GROUPS])
    parser.add_argument("--server", choices=("fixed", "emulator"), default="fixed")
    with runner.everything_on() as fleet:
        return runner.main(parser, "SDK", CASES, partial(Twins, fleet), GROUPS)


if __name__ == "__main__":
    sys.exit(main())
