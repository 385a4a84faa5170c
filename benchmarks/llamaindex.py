"""The client CPU of our LlamaIndex LLM compared with `OpenRouter` of llama-index-llms-openrouter. See README.md.

That class needs openai<3, so this benchmark needs a separate environment, with this project installed:

    python -m venv bench && bench/bin/pip install ".[llamaindex,emulator]" llama-index-llms-openrouter
    bench/bin/python benchmarks/llamaindex.py [name ...] [--blocks 15] [--strict]
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import runner
from runner import KEY, QUESTION, Case

CASES = (
    Case("noise-async", "bench/20", "peer_achat", "peer_achat", 60),
    Case("achat-20", "bench/20", "achat", "peer_achat", 60, 0.65),
    Case("chat-20", "bench/20", "chat", "peer_chat", 60, 0.85),
    Case("astream-500", "bench/500", "astream", "peer_astream", 4, 0.4),
    Case("stream-500", "bench/500", "stream", "peer_stream", 4, 0.45),
    Case("achat-64-at-a-time", "bench/20", "achat", "peer_achat", 192, 0.5, at_a_time=64),
    Case("achat-20-all-on", "bench/20", "achat_all_on", "peer_achat", 60, 0.65),
    Case("chat-20-all-on", "bench/20", "chat_all_on", "peer_chat", 60, 0.85),
    Case("astream-500-all-on", "bench/500", "astream_all_on", "peer_astream", 4, 0.4),
)
GROUPS = {
    "import-added": partial(
        runner.import_adds, "import-added", "llama_index.core", "llamaindex_openrouter_fallback", 50.0
    )
}


class Twins:
    """Both LLMs, with the same server. Each method makes one call and returns the number of characters."""

    def __init__(self, all_on: Mapping[str, Any], url: str, model: str) -> None:
        from llama_index.core.llms import ChatMessage
        from llama_index.llms.openrouter import OpenRouter

        from llamaindex_openrouter_fallback import OpenRouterFallback

        self._messages = [ChatMessage(role="user", content=QUESTION)]
        self._ours = OpenRouterFallback([model], api_base=url, api_key=KEY)
        self._all_on = OpenRouterFallback([model], api_base=url, api_key=KEY, settings=all_on)
        self._peer = OpenRouter(model=model, api_base=url, api_key=KEY)

    async def achat(self) -> int:
        return await self._achat(self._ours)

    async def achat_all_on(self) -> int:
        return await self._achat(self._all_on)

    async def peer_achat(self) -> int:
        return await self._achat(self._peer)

    def chat(self) -> int:
        return len(self._ours.chat(self._messages).message.content)

    def chat_all_on(self) -> int:
        return len(self._all_on.chat(self._messages).message.content)

    def peer_chat(self) -> int:
        return len(self._peer.chat(self._messages).message.content)

    async def astream(self) -> int:
        return await self._astream(self._ours)

    async def astream_all_on(self) -> int:
        return await self._astream(self._all_on)

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
        for llm in (self._ours, self._all_on):
            await llm.client.aclose()
            llm.client.close()
        # The peer closes neither of its clients, and a client that is not closed warns when its event loop has ended.
        await self._peer._get_aclient().close()
        self._peer._get_client().close()


def main() -> int:
    parser = runner.arguments(__doc__, [*(case.name for case in CASES), *GROUPS])
    with runner.everything_on() as all_on:
        return runner.main(parser, "OpenRouter", CASES, partial(Twins, all_on), GROUPS)


if __name__ == "__main__":
    sys.exit(main())
