"""One process of a fleet, controlled by lines of JSON: a command on stdin, an answer on stdout.

The process exchanges health only on command, and its clock can be advanced, so its results do not depend on its speed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from openrouter_fallback import FallbackClient, FallbackError
from openrouter_fallback.composition import parts_of
from openrouter_fallback.health.shared import redis
from openrouter_fallback.health.shared.redis import RedisStore

AT_A_TIME = 4


class Worker:
    def __init__(self, base_url: str, redis_url: str, deadline: float, models: list[str]) -> None:
        settings: dict[str, Any] = {"health_store": redis_url, "disable_duration_seconds": 300}
        self.client = FallbackClient(models, base_url=base_url, api_key="sk-or-v1-emulator", settings=settings)
        store = parts_of(self.client).store
        assert isinstance(store, RedisStore)
        self.store, self.ahead = store, 0.0
        store.touch = lambda: None  # type: ignore[method-assign]
        loop, redis.ASK_SECONDS = asyncio.get_running_loop(), 5.0  # on a slow machine too
        store.spawn = lambda work: asyncio.run_coroutine_threadsafe(work(), loop)
        store.deadline = deadline
        store.health.period = 30.0
        store.clock = parts_of(self.client).runtime.clock = lambda: time.monotonic() + self.ahead

    async def calls(self, number: int, *, exchange_every: int = 0) -> dict[str, Any]:
        """Make `number` calls, some at a time. After every `exchange_every` calls, an exchange starts in parallel.

        Also waits for probes that outlive their calls, so that their requests count here and not with a later call.
        """
        seconds: list[float] = []
        errors: list[str] = []
        exchanges: list[asyncio.Task[bool]] = []
        left = iter(range(number))

        async def caller() -> None:
            for n in left:
                if exchange_every and n % exchange_every == 0 and (not exchanges or exchanges[-1].done()):
                    exchanges.append(asyncio.create_task(self.store.exchange()))
                began = time.perf_counter()
                try:
                    await self.client.achat("Hello")
                except FallbackError as error:
                    errors.append(type(error).__name__)
                seconds.append(time.perf_counter() - began)

        await asyncio.gather(*(caller() for _ in range(AT_A_TIME)))
        await parts_of(self.client).runtime.background.done()
        worked = [await exchange for exchange in exchanges]
        return {"answered": number - len(errors), "errors": errors, "seconds": seconds, "exchanges": worked}

    async def obey(self, command: dict[str, Any]) -> object:
        match command["do"]:
            case "calls":
                return await self.calls(command["number"], exchange_every=command.get("exchange_every", 0))
            case "exchange":
                return await self.store.exchange()
            case "forward":
                self.ahead += command["seconds"]
                return True
        raise AssertionError(command)


async def main() -> None:
    base_url, redis_url, deadline, *models = sys.argv[1:]
    worker = Worker(base_url, redis_url, float(deadline), models)
    loop = asyncio.get_running_loop()
    print(json.dumps("ready"), flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await worker.obey(json.loads(line))), flush=True)
    await worker.store.aclose()
    await worker.client.aclose()


if __name__ == "__main__":
    asyncio.run(main())
