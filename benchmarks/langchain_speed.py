"""What a call of the LangChain chat model costs beside a plain ChatOpenAI: client CPU, healthy model, all defaults on.

python benchmarks/langchain_speed.py [name ...] [--blocks 15] [--strict]      (not langchain.py: that would be imported
python benchmarks/langchain_speed.py --profile astream-500                     instead of LangChain)
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
from typing import Any

from speed import CLIENT_CORE, KEY, Case, Row, compare, pin, served, show

QUESTION = "Why do fallbacks need a budget?"
CASES = (
    Case("noise", "bench/20", "theirs_ainvoke", "theirs_ainvoke", 40),
    Case("ainvoke-20", "bench/20", "ainvoke", "theirs_ainvoke", 40, 0.6),
    Case("invoke-20", "bench/20", "invoke", "theirs_invoke", 40, 0.9),
    Case("astream-500", "bench/500", "astream", "theirs_astream", 4, 0.35),
    Case("stream-500", "bench/500", "stream", "theirs_stream", 4, 0.4),
    Case("64-at-a-time", "bench/20", "ainvoke", "theirs_ainvoke", 192, 0.65, at_a_time=64),
)
IMPORT_MS = 60.0


class Twins:
    """Both chat models on one server; each method makes one call and returns the number of characters."""

    def __init__(self, url: str, model: str) -> None:
        from langchain_openai import ChatOpenAI

        from langchain_openrouter_fallback import ChatOpenRouterFallback

        self._ours = ChatOpenRouterFallback(models=[model], base_url=url, api_key=KEY)
        self._theirs = ChatOpenAI(model=model, base_url=url, api_key=KEY, stream_usage=True)

    async def ainvoke(self) -> int:
        return len((await self._ours.ainvoke(QUESTION)).content)

    async def theirs_ainvoke(self) -> int:
        return len((await self._theirs.ainvoke(QUESTION)).content)

    def invoke(self) -> int:
        return len(self._ours.invoke(QUESTION).content)

    def theirs_invoke(self) -> int:
        return len(self._theirs.invoke(QUESTION).content)

    async def astream(self) -> int:
        return sum([len(chunk.content) async for chunk in self._ours.astream(QUESTION)])

    async def theirs_astream(self) -> int:
        return sum([len(chunk.content) async for chunk in self._theirs.astream(QUESTION)])

    def stream(self) -> int:
        return sum(len(chunk.content) for chunk in self._ours.stream(QUESTION))

    def theirs_stream(self) -> int:
        return sum(len(chunk.content) for chunk in self._theirs.stream(QUESTION))

    async def aclose(self) -> None:
        await self._ours.client.aclose()
        self._ours.client.close()
        self._theirs.root_client.close()
        await self._theirs.root_async_client.close()


def imports(blocks: int) -> Row:
    """CPU that importing the package adds to importing langchain-core's chat models, in fresh interpreters."""
    with tempfile.TemporaryDirectory() as cache:
        env = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}

        def once() -> float:
            code = (
                "import langchain_core.language_models.chat_models, time; begun = time.process_time();"
                "import langchain_openrouter_fallback; print(time.process_time() - begun)"
            )
            done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
            return float(done.stdout) * 1e3

        once()
        return Row("import adds", statistics.median(once() for _ in range(max(blocks, 5))), target=IMPORT_MS, unit="ms")


def profile(case: Case, calls: int) -> None:
    """Where our side's time goes, by function."""
    with served("fixed") as url:
        twins = Twins(url, case.model)
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
    names = [case.name for case in CASES] + ["import"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of: {', '.join(names)}; all by default")
    parser.add_argument("--blocks", type=int, default=15, help="pairs of blocks for each row")
    parser.add_argument("--profile", action="store_true", help="show where our side's time goes instead")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a target is missed")
    chosen = parser.parse_args()
    unknown = set(chosen.names) - set(names)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    pin(CLIENT_CORE)
    wanted = [case for case in CASES if case.name in (chosen.names or names)]
    if chosen.profile:
        for case in wanted:
            profile(case, case.calls * 3)
        return 0
    print(f"{'':22}{'ours':>10} {'ChatOpenAI':>10} {'':3}{'ratio':>7}  {'quartiles':13}{'target':8}")
    rows = []
    for case in wanted:
        with served("fixed") as url:
            rows.append(compare(case, url, chosen.blocks, Twins))
        show(rows[-1])
    if "import" in (chosen.names or names):
        rows.append(imports(chosen.blocks))
        show(rows[-1])
    return int(chosen.strict and any(row.verdict == "MISSED" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
