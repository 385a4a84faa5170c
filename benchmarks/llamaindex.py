"""What a call costs in LlamaIndex, beside `OpenRouter` of llama-index-llms-openrouter: client CPU. See README.md.

That class needs openai<3, so it has an environment of its own, with this project in it:

    python -m venv bench && bench/bin/pip install ".[llamaindex,emulator]" llama-index-llms-openrouter
    bench/bin/python benchmarks/llamaindex.py [name ...] [--blocks 15] [--strict]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from typing import Any

from speed import CLIENT_CORE, KEY, Case, Row, compare, pin, served, show

CASES = (
    Case("noise-async", "bench/20", "peer_achat", "peer_achat", 60),
    Case("achat-20", "bench/20", "achat", "peer_achat", 60, 0.65),
    Case("chat-20", "bench/20", "chat", "peer_chat", 60, 0.85),
    Case("astream-500", "bench/500", "astream", "peer_astream", 4, 0.4),
    Case("stream-500", "bench/500", "stream", "peer_stream", 4, 0.45),
    Case("achat-64-at-a-time", "bench/20", "achat", "peer_achat", 192, 0.5, at_a_time=64),
)
MOST_MILLISECONDS = 50
"""Of importing the package, on top of llama-index-core."""


class Twins:
    """Both LLMs on one server; each method makes one call and returns the number of characters that came."""

    def __init__(self, url: str, model: str) -> None:
        from llama_index.core.llms import ChatMessage
        from llama_index.llms.openrouter import OpenRouter

        from llamaindex_openrouter_fallback import OpenRouterFallback

        self._messages = [ChatMessage(role="user", content="Why do fallbacks need a budget?")]
        self._ours = OpenRouterFallback([model], api_base=url, api_key=KEY)
        self._peer = OpenRouter(model=model, api_base=url, api_key=KEY)

    async def achat(self) -> int:
        return await self._achat(self._ours)

    async def peer_achat(self) -> int:
        return await self._achat(self._peer)

    def chat(self) -> int:
        return len(self._ours.chat(self._messages).message.content)

    def peer_chat(self) -> int:
        return len(self._peer.chat(self._messages).message.content)

    async def astream(self) -> int:
        return await self._astream(self._ours)

    async def peer_astream(self) -> int:
        return await self._astream(self._peer)

    def stream(self) -> int:
        return sum(len(response.delta or "") for response in self._ours.stream_chat(self._messages))

    def peer_stream(self) -> int:
        return sum(len(response.delta or "") for response in self._peer.stream_chat(self._messages))

    async def _achat(self, llm: Any) -> int:
        return len((await llm.achat(self._messages)).message.content)

    async def _astream(self, llm: Any) -> int:
        return sum([len(response.delta or "") async for response in await llm.astream_chat(self._messages)])

    async def aclose(self) -> None:
        await self._ours.client.aclose()
        self._ours.client.close()


def imports(blocks: int) -> Row:
    """CPU of importing the package after llama-index-core, in fresh interpreters with compiled bytecode."""
    code = (
        "import time, llama_index.core; begun = time.process_time(); "
        "import llamaindex_openrouter_fallback; print(time.process_time() - begun)"
    )
    with tempfile.TemporaryDirectory() as cache:
        env = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}

        def once() -> float:
            done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
            return float(done.stdout) * 1e3

        once()
        added = [once() for _ in range(max(blocks, 5))]
    quartiles = statistics.quantiles(added, n=4)
    spread = (quartiles[0], quartiles[2])
    return Row("import-added", statistics.median(added), None, None, spread, MOST_MILLISECONDS, "ms")


def main() -> int:
    names = [*(case.name for case in CASES), "import-added"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of: {', '.join(names)}; all by default")
    parser.add_argument("--blocks", type=int, default=15, help="pairs of blocks for each row")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a target is missed")
    chosen = parser.parse_args()
    unknown = set(chosen.names) - set(names)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    pin(CLIENT_CORE)
    wanted = chosen.names or names
    print(f"{'':22}{'ours':>10} {'OpenRouter':>10} {'':3}{'ratio':>7}  {'quartiles':13}{'target':8}")
    rows = []
    for case in CASES:
        if case.name in wanted:
            with served("fixed") as url:
                rows.append(compare(case, url, chosen.blocks, Twins))
            show(rows[-1])
    if "import-added" in wanted:
        rows.append(imports(chosen.blocks))
        show(rows[-1])
    return int(chosen.strict and any(row.verdict == "MISSED" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
