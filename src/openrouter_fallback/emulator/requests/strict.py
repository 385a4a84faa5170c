"""Strict mode: the table of the histories that each family's servers refuse, and the error bodies of the refusals.

The rules were written from providers' documentation and from public reports. `Rule.source` names the source: a thread
of a public repository, or a page of documentation. OpenRouter passes a refusal through, streamed or not, as a 400 (or
404) "Provider returned error" whose `metadata.raw` is the provider's body.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson

from ..models.families import Family
from . import anthropic, google, openai, others
from .history import Complaint, History
from .refusal import Refused

_F = Family


class Rule(NamedTuple):
    """One rule that a family's servers check. `source` names where the rule was seen."""

    families: tuple[Family, ...]
    what: str
    check: Callable[[History], Complaint | None]
    source: str


_CLAUDE, _GPT, _GEMINI, _MISTRAL = (_F.ANTHROPIC,), (_F.OPENAI,), (_F.GOOGLE,), (_F.MISTRAL,)

RULES: Mapping[str, Rule] = {
    "anthropic_beginning": Rule(
        _CLAUDE,
        "there is a message beside the system's; on Bedrock the first one is the user's",
        anthropic.beginning,
        "kibana#246393, pydantic-ai#4495",
    ),
    "anthropic_ids": Rule(
        _CLAUDE, "tool-call ids are `^[a-zA-Z0-9_-]+$`", anthropic.ids, "forgecode#1142, langchain#37756"
    ),
    "anthropic_unique_ids": Rule(
        _CLAUDE, "no two calls of a conversation share an id", anthropic.unique_ids, "Anthropic, tool use"
    ),
    "anthropic_names": Rule(
        _CLAUDE,
        "names of called functions have at most 128 letters, digits, `_`, `-`",
        anthropic.names,
        "Anthropic, tool use",
    ),
    "anthropic_inputs": Rule(
        _CLAUDE, "arguments of calls are JSON objects", anthropic.inputs, "prism#659, claude-code#6697"
    ),
    "anthropic_tools": Rule(
        _CLAUDE,
        "on Bedrock a request whose history has calls or results has tools",
        anthropic.tools,
        "kibana#246943, dify#17545",
    ),
    "anthropic_results": Rule(
        _CLAUDE,
        "tool results are at the head of the message after their calls, one result for each call",
        anthropic.results,
        "claude-code#5989, #13460",
    ),
    "anthropic_empty_texts": Rule(_CLAUDE, "no text part is empty", anthropic.empty_texts, "experiential#799"),
    "anthropic_empty_messages": Rule(
        _CLAUDE, "no message is empty, except a final assistant message", anthropic.empty_messages, "claude-code#3196"
    ),
    "anthropic_signatures": Rule(
        _CLAUDE,
        "signed reasoning is unchanged and goes to the model that signed it; from Claude 4.6 on, everything before it "
        "is unchanged too",
        anthropic.signed,
        "llxprt-code#2335, langchain#36400, claude-code#63268",
    ),
    "anthropic_only_thinking": Rule(
        _CLAUDE, "no assistant message ends with reasoning", anthropic.only_thinking, "forgecode#2107"
    ),
    "anthropic_thinking_demanded": Rule(
        _CLAUDE,
        "in a request with reasoning, the model's last message before tool results (or a prefill) begins with signed "
        "reasoning",
        anthropic.demanded,
        "opencode#3077, n8n#22550",
    ),
    "anthropic_prefill": Rule(
        _CLAUDE,
        "a final assistant message does not end with white space; from Claude 4.6 on, no final assistant message",
        anthropic.prefill,
        "Anthropic, prefill",
    ),
    "anthropic_cache_marks": Rule(_CLAUDE, "at most four `cache_control`", anthropic.cache_marks, "continue#6937"),
    "openai_ids": Rule(_GPT, "tool-call ids have 1 to 40 characters", openai.ids, "openclaw#875, vercel/ai#5171"),
    "openai_lists": Rule(
        _GPT,
        "a message without calls has no empty list `tool_calls`",
        openai.lists,
        "openai-python#2061, home-assistant#118577",
    ),
    "openai_names": Rule(_GPT, "names of called functions are `[a-zA-Z0-9_-]{1,64}`", openai.names, "mcp-use#90"),
    "openai_speakers": Rule(
        _GPT,
        "`message.name` has at most 64 characters, no blank, `<`, `|`, `\\`, `/` or `>`",
        openai.speakers,
        "langgraph#248",
    ),
    "openai_results": Rule(
        _GPT, "tool results follow their calls, one for each", openai.results, "OpenAI, function calling"
    ),
    "openai_images": Rule(
        _GPT, "images are in messages of the user only", openai.images, "OpenHands#7700, openai-node#1030"
    ),
    "openai_items": Rule(
        _GPT, "no `rs_...` without its encrypted content (404)", openai.items, "vercel/ai#7543, langchain#37777"
    ),
    "openai_encrypted": Rule(
        (_F.OPENAI, _F.XAI),
        "encrypted reasoning was made by the same account and provider",
        openai.encrypted,
        "codex#8145, codex#3573",
    ),
    "google_beginning": Rule(
        _GEMINI,
        "there is a turn beside the system's, and the first one is the user's",
        google.beginning,
        "litellm#13769, hermes-agent#55427, gemini-cli#11814",
    ),
    "google_names": Rule(
        _GEMINI,
        "names of called functions begin with a letter or `_`, at most 64 characters",
        google.names,
        "Google, function calling",
    ),
    "google_results": Rule(
        _GEMINI, "the turn after calls holds their results, as many as calls", google.results, "gemini-cli#17208"
    ),
    "google_last": Rule(
        _GEMINI,
        "from Gemini 3.6 on (and 3.5 Flash Lite), no final assistant message",
        google.last,
        "LibreChat-AI/agents#323, opencode#47034",
    ),
    "google_signatures": Rule(_GEMINI, "Google issued every signature", google.valid, "Roo-Code#10640"),
    "google_signature_demanded": Rule(
        _GEMINI,
        "Gemini 3: the first call of each step of the current turn has a signature, or "
        "`skip_thought_signature_validator` instead, as one `reasoning.encrypted` with that call's id or without id",
        google.demanded,
        "MassGen#624, Roo-Code#10640",
    ),
    "mistral_ids": Rule(_MISTRAL, "tool-call ids are 9 of `[a-zA-Z0-9]`", others.mistral_ids, "avante.nvim#2951"),
    "mistral_names": Rule(
        _MISTRAL, "names of called functions are `[a-zA-Z0-9_-]{1,64}`", others.mistral_names, "mistral-common"
    ),
    "mistral_order": Rule(
        _MISTRAL,
        "no user or system message directly after a result; tool results follow their calls, as many as calls",
        others.mistral_order,
        "crush#279, datapizza-ai#98",
    ),
    "mistral_results_are_text": Rule(
        _MISTRAL, "tool results contain text only", others.mistral_results_are_text, "LibreChat-AI/agents#344"
    ),
    "mistral_last": Rule(_MISTRAL, "a final assistant message has `prefix: true`", others.mistral_last, "rig#1130"),
    "mistral_reasoning": Rule(
        _MISTRAL,
        "no reasoning in the history (except for Magistral)",
        others.mistral_reasoning,
        "conversations#402, OpenMinis#87",
    ),
    "mistral_empty": Rule(
        _MISTRAL, "an assistant message has content or calls", others.mistral_empty, "mistral-common"
    ),
    "moonshot_results_are_text": Rule(
        (_F.MOONSHOT,), "tool results contain text only", others.kimi_results_are_text, "vllm#43203"
    ),
    "moonshot_reasoning": Rule(
        (_F.MOONSHOT,),
        "while the model reasons (K2 Thinking, from K2.5 on by default), messages with calls have readable reasoning",
        others.kimi_reasoning,
        "opencode#16318, mastra#12592",
    ),
    "deepseek_reasoning": Rule(
        (_F.DEEPSEEK,),
        "while the model reasons, from V3.2 on, calls of the current turn have readable reasoning",
        others.deepseek_reasoning,
        "pi#3636, DeepSeek, thinking mode",
    ),
    "deepseek_reasoner": Rule(
        (_F.DEEPSEEK,),
        "R1: no `reasoning_content`, no adjacent messages of one side, no prefill without `prefix: true`",
        others.deepseek_reasoner,
        "DeepSeek, reasoning model",
    ),
    "qwen_order": Rule((_F.QWEN,), "tool results follow their calls, one for each", others.qwen_order, "qwen-code#869"),
    "qwen_lists": Rule(
        (_F.QWEN,),
        "a message without calls has no empty list `tool_calls`",
        others.qwen_lists,
        "vscode-unify-chat-provider#65",
    ),
    "qwen_user": Rule(
        (_F.QWEN,), "from 3.5 on there is a message of the user", others.qwen_user, "vllm#36432, dify#33152"
    ),
    "qwen_arguments": Rule(
        (_F.QWEN,), "arguments of calls are JSON objects", others.qwen_arguments, "vllm#43995, sglang#28035"
    ),
    "xai_empty": Rule(
        (_F.XAI,), "no message without content and without calls", others.xai_empty, "AstrBot#6447, crush#964"
    ),
    "cohere_empty": Rule(
        (_F.COHERE,), "no message without content and without calls", others.cohere_empty, "Risuai#504"
    ),
}
"""Every rule by its name, in the order of the checks. For other families, only the checks of all models apply."""

SILENT = "moonshot_ids"
SILENCE = Rule(
    (_F.MOONSHOT,),
    "K2 answers with an empty `stop` unless ids are `functions.NAME:n`, n counted upwards over the conversation",
    lambda history: None,
    "kimchi#1066, sglang#10612",
)
"""The only rule without a refusal: `goes_silent` applies it."""


def refusal(history: History) -> Refused | None:
    """The provider's refusal of this history; None if the provider accepts the history."""
    for rule in RULES.values():
        if history.family in rule.families:
            found = rule.check(history)
            if found is not None:
                return _refused(history, found)
    return None


def goes_silent(history: History) -> bool:
    """Whether the model's answer is empty, as Kimi K2's is after tool-call ids of another model."""
    return history.family is Family.MOONSHOT and others.kimi_is_silent(history)


def _refused(history: History, complaint: Complaint) -> Refused:
    prefix = complaint.code or "" if history.family is Family.GOOGLE else ""
    raw = prefix + orjson.dumps(_BODIES[history.family](complaint)).decode()
    metadata: dict[str, Any] = {"raw": raw, "provider_name": history.host.name}
    if complaint.status == 400:
        metadata = {"error_type": "invalid_request", **metadata}
    return Refused(complaint.status, "Provider returned error", metadata)


def _as_openai(complaint: Complaint) -> dict[str, Any]:
    error = {
        "message": complaint.words,
        "type": "invalid_request_error",
        "param": complaint.param,
        "code": complaint.code,
    }
    return {"error": error}


def _as_anthropic(complaint: Complaint) -> dict[str, Any]:
    request = f"req_011C{hashlib.sha256(complaint.words.encode()).hexdigest()[:20]}"
    error = {"type": "invalid_request_error", "message": complaint.words}
    return {"type": "error", "error": error, "request_id": request}


_BODIES: Mapping[Family, Callable[[Complaint], dict[str, Any]]] = {
    **dict.fromkeys(Family, _as_openai),
    Family.ANTHROPIC: _as_anthropic,
    Family.GOOGLE: lambda complaint: {"error": {"code": 400, "message": complaint.words, "status": "INVALID_ARGUMENT"}},
    Family.MISTRAL: lambda complaint: {
        "object": "error",
        "message": complaint.words,
        "type": "invalid_request_message_order" if complaint.code == "3230" else "invalid_request_error",
        "param": None,
        "code": complaint.code,
    },
    Family.MOONSHOT: lambda complaint: {"error": {"message": complaint.words, "type": "invalid_request_error"}},
    Family.XAI: lambda complaint: {"code": "Client specified an invalid argument", "error": complaint.words},
    Family.COHERE: lambda complaint: {"message": complaint.words},
}
