"""The table of the peers, each with the settings that its documentation recommends for failover."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Peer:
    """One peer.

    - `environment`: the name of the requirements file. `adapter`: the module. `options`: the options of its `Chain`.
    - `packages`: the packages whose versions are reported. `source`: the page that recommends the settings.
    - `overhead`: whether the peer is measured with a healthy model. A peer that differs from another only in its
      retries is not.
    """

    name: str
    environment: str
    adapter: str
    packages: tuple[str, ...]
    settings: str
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    overhead: bool = True
    outages: bool = True
    ours: bool = False


_NO_RETRIES = {"max_retries": 0}
_LANGCHAIN = "docs.langchain.com/docs/guides/productionization/fallbacks"
_OPENROUTER = "openrouter.ai/docs/guides/routing/model-fallbacks"
_LITELLM = "docs.litellm.ai/docs/router/learn/reliability"
_PYDANTIC = "ai.pydantic.dev/models/overview, the section on FallbackModel"

PEERS = (
    Peer("openai SDK", "openai", "openai_sdk", ("openai",), "one model; its own 2 retries"),
    Peer("openai SDK, again", "openai", "openai_sdk", ("openai",), "the noise of this table", outages=False),
    Peer(
        "ChatOpenAI",
        "langchain-openai",
        "langchain_openai_chat",
        ("langchain-openai", "langchain-core", "openai"),
        "one model; the SDK's 2 retries",
    ),
    Peer(
        "ChatOpenAI.with_fallbacks",
        "langchain-openai",
        "langchain_openai_chat",
        ("langchain-openai", "langchain-core", "openai"),
        "defaults",
        {"fallbacks": True},
        _LANGCHAIN,
    ),
    Peer(
        "ChatOpenAI.with_fallbacks, tuned",
        "langchain-openai",
        "langchain_openai_chat",
        ("langchain-openai", "langchain-core", "openai"),
        "max_retries=0; stream_chunk_timeout",
        {"fallbacks": True, "deadlines": True, **_NO_RETRIES},
        _LANGCHAIN,
        overhead=False,
    ),
    Peer(
        "ChatOpenRouter, models=",
        "langchain-openrouter",
        "langchain_openrouter_chat",
        ("langchain-openrouter", "langchain-core", "openrouter"),
        "OpenRouter's own `models`, as the emulator plays it; 2 retries within 300 s",
        {"routed": True},
        _OPENROUTER,
    ),
    Peer(
        "ChatOpenRouter.with_fallbacks, tuned",
        "langchain-openrouter",
        "langchain_openrouter_chat",
        ("langchain-openrouter", "langchain-core", "openrouter"),
        "max_retries=0",
        {"fallbacks": True, **_NO_RETRIES},
        _LANGCHAIN,
        overhead=False,
    ),
    Peer(
        "LiteLLM Router",
        "litellm",
        "litellm_router",
        ("litellm", "openai"),
        "`fallbacks`, defaults otherwise",
        source=_LITELLM,
    ),
    Peer(
        "LiteLLM Router, tuned",
        "litellm",
        "litellm_router",
        ("litellm", "openai"),
        "num_retries=0: a fallback at once; continuation in mid-stream, models that take a prefill",
        {"num_retries": 0, "enable_mid_stream_fallback_continuation": True, "prefill": True},
        _LITELLM,
        overhead=False,
    ),
    Peer(
        "pydantic-ai FallbackModel",
        "pydantic-ai",
        "pydantic_ai_fallback",
        ("pydantic-ai-slim", "openai"),
        "defaults; `timeout` of the model's settings",
        source=_PYDANTIC,
    ),
    Peer(
        "pydantic-ai FallbackModel, tuned",
        "pydantic-ai",
        "pydantic_ai_fallback",
        ("pydantic-ai-slim", "openai"),
        "max_retries=0 of the SDK, request_timeout, first_event_timeout",
        {"deadlines": True, **_NO_RETRIES},
        _PYDANTIC,
        overhead=False,
    ),
    Peer(
        "llama-index OpenRouter",
        "llama-index-openrouter",
        "llamaindex_openrouter",
        ("llama-index-llms-openrouter", "llama-index-core", "openai"),
        "one model; its own 5 retries around the SDK's",
    ),
    Peer("ours: FallbackClient", "ours", "ours_core", ("httpx2", "orjson"), "defaults", ours=True),
    Peer("ours: LangChain", "ours", "ours_langchain", ("langchain-core",), "defaults", ours=True),
    Peer("ours: LlamaIndex", "ours", "ours_llamaindex", ("llama-index-core",), "defaults", ours=True),
)
REFERENCE, NOISE = PEERS[0], PEERS[1]
