"""The client CPU of the LangChain chat model compared with a plain ChatOpenAI: a healthy model, default settings.

python benchmarks/langchain_speed.py [name ...] [--blocks 15] [--strict]
python benchmarks/langchain_speed.py --profile astream-500

The file is not called langchain.py, because `import langchain` would import such a file.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import runner
from runner import KEY, QUESTION, Case

CASES = (
    Case("noise", "bench/20", "theirs_ainvoke", "theirs_ainvoke", 40),
    Case("ainvoke-20", "bench/20", "ainvoke", "theirs_ainvoke", 40, 0.6),
    Case("invoke-20", "bench/20", "invoke", "theirs_invoke", 40, 0.9),
    Case("astream-500", "bench/500", "astream", "theirs_astream", 4, 0.35),
    Case("stream-500", "bench/500", "stream", "theirs_stream", 4, 0.4),
    Case("64-at-a-time", "bench/20", "ainvoke", "theirs_ainvoke", 192, 0.65, at_a_time=64),
    Case("ainvoke-20-all-on", "bench/20", "ainvoke_all_on", "theirs_ainvoke", 40, 0.6),
    Case("invoke-20-all-on", "bench/20", "invoke_all_on", "theirs_invoke", 40, 0.9),
    Case("astream-500-all-on", "bench/500", "astream_all_on", "theirs_astream", 4, 0.35),
)
GROUPS = {
    "import": partial(
        runner.import_adds,
        "import adds",
        "langchain_core.language_models.chat_models",
        "langchain_openrouter_fallback",
        60.0,
    )
}


class Twins:
    """Both chat models, with the same server. Each method makes one call and returns the number of characters."""

    def __init__(self, all_on: Mapping[str, Any], url: str, model: str) -> None:
        from langchain_openai import ChatOpenAI

        from langchain_openrouter_fallback import ChatOpenRouterFallback

        self._ours = ChatOpenRouterFallback(models=[model], base_url=url, api_key=KEY)
        self._all_on = ChatOpenRouterFallback(models=[model], base_url=url, api_key=KEY, settings=all_on)
        self._theirs = ChatOpenAI(model=model, base_url=url, api_key=KEY, stream_usage=True)

    async def ainvoke(self) -> int:
        return len((await self._ours.ainvoke(QUESTION)).content)

    async def ainvoke_all_on(self) -> int:
        return len((await self._all_on.ainvoke(QUESTION)).content)

    async def theirs_ainvoke(self) -> int:
        return len((await self._theirs.ainvoke(QUESTION)).content)

    def invoke(self) -> int:
        return len(self._ours.invoke(QUESTION).content)

    def invoke_all_on(self) -> int:
        return len(self._all_on.invoke(QUESTION).content)

    def theirs_invoke(self) -> int:
        return len(self._theirs.invoke(QUESTION).content)

    async def astream(self) -> int:
        return sum([len(chunk.content) async for chunk in self._ours.astream(QUESTION)])

    async def astream_all_on(self) -> int:
        return sum([len(chunk.content) async for chunk in self._all_on.astream(QUESTION)])

    async def theirs_astream(self) -> int:
        return sum([len(chunk.content) async for chunk in self._theirs.astream(QUESTION)])

    def stream(self) -> int:
        return sum(len(chunk.content) for chunk in self._ours.stream(QUESTION))

    def theirs_stream(self) -> int:
        return sum(len(chunk.content) for chunk in self._theirs.stream(QUESTION))

    async def aclose(self) -> None:
        for model in (self._ours, self._all_on):
            await model.client.aclose()
            model.client.close()
        self._theirs.root_client.close()
        await self._theirs.root_async_client.close()


def profile(case: Case, calls: int, all_on: Mapping[str, Any]) -> None:
    """Print the time of our side by function."""
    with runner.served("fixed") as url:
        twins = Twins(all_on, url, case.model)
        call: Any = getattr(twins, case.ours)
        profiler = cProfile.Profile()
        if asyncio.iscoroutinefunction(call):

            async def run() -> None:
                await call()
                profiler.enable()
                for _ in range(calls):
                    await call()
                profiler.disable()

            asyncio.run(run())
        else:
            call()
            profiler.runcall(lambda: [call() for _ in range(calls)])
    pstats.Stats(profiler).sort_stats("tottime").print_stats(35)


def main() -> int:
    parser = runner.arguments(__doc__, [*(case.name for case in CASES), *GROUPS])
    parser.add_argument("--profile", action="store_true", help="print a profile of our side instead")
    with runner.everything_on() as all_on:

        def profiled(chosen: argparse.Namespace, cases: Sequence[Case]) -> bool:
            for case in cases if chosen.profile else ():
                profile(case, case.calls * 3, all_on)
            return bool(chosen.profile)

        return runner.main(parser, "ChatOpenAI", CASES, partial(Twins, all_on), GROUPS, instead=profiled)


if __name__ == "__main__":
    sys.exit(main())
