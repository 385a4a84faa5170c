"""The meaning of finish reasons: a table with sources, and rules for reasons that are not in the table.

OpenAI documents `stop`, `length`, `tool_calls`, `function_call` and `content_filter`. Other servers write their own
words, and OpenRouter passes on a provider's word as `native_finish_reason`. Names are compared without case,
underscores and other signs: `MAX_TOKENS`, `max-tokens` and `maxTokens` are one name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from ..failures.kinds import FailureKind
from .seam import only_by_prefill

_K = FailureKind


class Meaning(StrEnum):
    """The kinds of finish. `unknown`: the content of the answer decides."""

    STOP = "stop"
    LENGTH = "length"
    CALLS = "tool_calls"
    FILTERED = "content_filter"
    FAILED = "failed"
    UNKNOWN = "unknown"


WORDS: Final[Mapping[Meaning, str]] = {
    Meaning.STOP: "stop",
    Meaning.LENGTH: "length",
    Meaning.CALLS: "tool_calls",
}
"""OpenAI's word for each kind of good finish."""


@dataclass(frozen=True, slots=True)
class Finish:
    """One row: the name as the server writes it, its meaning, the kind of its failure (if it is one), the source."""

    name: str
    meaning: Meaning
    source: str
    kind: FailureKind | None = None


def _rows(meaning: Meaning, source: str, *names: str, kind: FailureKind | None = None) -> tuple[Finish, ...]:
    return tuple(Finish(name, meaning, source, kind) for name in names)


_OPENAI = "OpenAI API reference, chat completions"
_ANTHROPIC = "Anthropic API reference, stop_reason"
_GEMINI = "Gemini API reference, FinishReason"
_COHERE = "Cohere API reference, finish_reason"
_BEDROCK = "Amazon Bedrock API reference, Converse stopReason"
_RESPONSES = "OpenAI API reference, status of a response"

FINISHES: Final[tuple[Finish, ...]] = (
    # The answer is complete.
    *_rows(Meaning.STOP, _OPENAI, "stop"),
    *_rows(Meaning.STOP, _ANTHROPIC, "end_turn", "stop_sequence"),
    *_rows(Meaning.STOP, _COHERE, "COMPLETE"),
    *_rows(Meaning.STOP, _RESPONSES, "completed"),
    *_rows(Meaning.STOP, "Together; openai-dotnet#267", "eos"),
    *_rows(Meaning.STOP, "Text Generation Inference; TGI#2344, dstack#2229", "eos_token"),
    *_rows(Meaning.STOP, "servers that name the stop token; vespa#33327", "stop_token", "<|eot_id|>", "<|im_end|>"),
    *_rows(Meaning.STOP, "proxies", "finish", "finished", "done", "end", "normal", "success"),
    # A token limit cut the answer off.
    *_rows(Meaning.LENGTH, _OPENAI, "length"),
    *_rows(Meaning.LENGTH, _ANTHROPIC, "max_tokens", "model_context_window_exceeded"),
    *_rows(Meaning.LENGTH, _RESPONSES, "max_output_tokens"),
    *_rows(Meaning.LENGTH, _COHERE, "ERROR_LIMIT"),
    *_rows(Meaning.LENGTH, "Mistral API reference", "model_length"),
    *_rows(Meaning.LENGTH, "llama.cpp, Text Generation Inference", "limit", "max_new_tokens", "token_limit"),
    # The answer calls tools.
    *_rows(Meaning.CALLS, _OPENAI, "tool_calls", "function_call"),
    *_rows(Meaning.CALLS, _ANTHROPIC, "tool_use"),
    *_rows(Meaning.CALLS, _COHERE, "TOOL_CALL"),
    # A content filter stopped the answer.
    *_rows(Meaning.FILTERED, _OPENAI, "content_filter"),
    *_rows(Meaning.FILTERED, _ANTHROPIC, "refusal"),
    *_rows(Meaning.FILTERED, _BEDROCK, "content_filtered", "guardrail_intervened"),
    *_rows(Meaning.FILTERED, _COHERE, "ERROR_TOXIC"),
    *_rows(Meaning.FILTERED, "Z.AI API reference; dify#7559, promptfoo#9905", "sensitive"),
    *_rows(Meaning.FILTERED, _GEMINI, "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"),
    *_rows(Meaning.FILTERED, _GEMINI, "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR"),
    # The model or server failed.
    *_rows(Meaning.FAILED, "OpenRouter API reference; Mistral, Cohere", "error", kind=_K.UNAVAILABLE),
    *_rows(Meaning.FAILED, "vLLM, SGLang; vllm#57082, llmgateway#1701", "abort", "aborted", kind=_K.UNAVAILABLE),
    *_rows(Meaning.FAILED, "proxies; llmgateway#1701", "cancelled", "canceled", kind=_K.UNAVAILABLE),
    *_rows(Meaning.FAILED, _COHERE, "USER_CANCEL", kind=_K.UNAVAILABLE),
    *_rows(Meaning.FAILED, _COHERE, "TIMEOUT", kind=_K.TIMED_OUT),
    *_rows(Meaning.FAILED, "Z.AI API reference; promptfoo#9905", "network_error", kind=_K.UNAVAILABLE),
    *_rows(Meaning.FAILED, "DeepSeek API reference", "insufficient_system_resource", kind=_K.OVERLOADED),
    *_rows(Meaning.FAILED, _RESPONSES, "failed", "incomplete", "in_progress", kind=_K.UNAVAILABLE),
    *_rows(Meaning.FAILED, "xAI, OpenAI: limits met in mid-answer", "rate_limit_exceeded", kind=_K.RATE_LIMITED),
    *_rows(Meaning.FAILED, "Text Generation Inference on watsonx", "time_limit", kind=_K.TIMED_OUT),
    *_rows(Meaning.FAILED, "Ollama: a model was only loaded", "load", "unload", kind=_K.BAD_ANSWER),
    *_rows(Meaning.FAILED, f"{_ANTHROPIC}: to be continued", "pause_turn", "compaction", kind=_K.BAD_ANSWER),
    *_rows(
        Meaning.FAILED,
        f"{_GEMINI}; langgraph#6574, litellm#21744",
        *("MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"),
        *("MISSING_THOUGHT_SIGNATURE", "LANGUAGE", "NO_IMAGE", "IMAGE_OTHER"),
        kind=_K.BAD_ANSWER,
    ),
    *_rows(Meaning.FAILED, _BEDROCK, "malformed_model_output", "malformed_tool_use", kind=_K.BAD_ANSWER),
    *_rows(Meaning.FAILED, "vLLM: repetition detection", "repetition", kind=_K.BAD_ANSWER),
    # The reason has no meaning.
    *_rows(Meaning.UNKNOWN, _GEMINI, "OTHER", "FINISH_REASON_UNSPECIFIED"),
    *_rows(Meaning.UNKNOWN, "Vercel AI SDK, proxies", "unknown"),
)

SIGNS: Final[tuple[tuple[Meaning, FailureKind | None, str], ...]] = (
    (Meaning.STOP, None, r"\A<.{1,60}>\Z"),  # the stop token itself: vespa#33327
    (Meaning.FAILED, _K.TIMED_OUT, r"time_?d?_?out|deadline"),
    (Meaning.FAILED, _K.RATE_LIMITED, r"rate[_ -]?limit|quota|throttl|too_?many_?requests"),
    (Meaning.FAILED, _K.OVERLOADED, r"overload|resource|capacity|\bbusy|_busy|preempt|out_?of_?memory|\boom\b"),
    (
        Meaning.FAILED,
        _K.BAD_ANSWER,
        r"malform|invalid|incomplet|repetit|loop|partial|premature|unfinish|not_?finish|unexpected",
    ),
    (
        Meaning.FAILED,
        _K.UNAVAILABLE,
        r"err|fail|abort|cancel|interrupt|connect|network|crash|unavail|exception|kill|evict|shut_?down"
        r"|terminat|stall|reset|broken|lost|drop|panic|died",
    ),
    (
        Meaning.FILTERED,
        None,
        r"filter|safety|polic|block|prohibit|guard|sensitiv|violat|toxic|moderat|refus|harm"
        r"|unsafe|copyright|complian|jailbreak",
    ),
    (Meaning.LENGTH, None, r"length|max|limit|truncat|budget|exceed|cut_?off|too_?long"),
    (Meaning.STOP, None, r"\Astop|eos|eot|end_?of_?|complete"),
)
"""The meaning of parts of a name that is not in the table; the first match is taken."""

_NO_SOURCE: Final = "by its name"


_NONE: Final = frozenset({"", "null", "none", "undefined"})
"""Words used for `null`: DashScope sends "null" while it generates, other servers their language's word."""


def word(finish: object) -> str | None:
    """A finish reason as a word; None if there is none yet. Raises TypeError if it is not a word.

    SGLang's own API wraps it in an object: `{"type": "stop", "matched": 2}`.
    """
    if isinstance(finish, dict):
        finish = finish.get("type")
    if finish is None:
        return None
    if not isinstance(finish, str):
        raise TypeError("a finish reason is not a string")
    return None if finish.strip().lower() in _NONE else finish


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_BY_NAME: Final = {_folded(finish.name): finish for finish in FINISHES}


def known(name: object) -> Finish | None:
    """The row of the table for a finish reason; None if there is none."""
    return _known(name[:_LONGEST]) if isinstance(name, str) else None


_LONGEST: Final = 80  # characters of a name that are read


@lru_cache(maxsize=256)
def _known(name: str) -> Finish | None:
    return _BY_NAME.get(_folded(name).removeprefix("finishreason") or _folded(name)) or _BY_NAME.get(_folded(name))


def read(finish: str, native: object = None) -> Finish:
    """The meaning of a finish reason. `native` is the provider's word, which counts if it contradicts a good finish."""
    said = known(finish) or _by_signs(finish)
    own = known(native) or (_by_signs(native) if isinstance(native, str) and native else None)
    if own is None or said.meaning not in (Meaning.STOP, Meaning.CALLS, Meaning.UNKNOWN):
        return said
    if own.meaning in (Meaning.FAILED, Meaning.FILTERED, Meaning.LENGTH):
        return own
    return own if own.meaning is Meaning.CALLS and said.meaning is Meaning.STOP else said


def _by_signs(name: str) -> Finish:
    for meaning, kind, pattern in SIGNS:
        if re.search(pattern, name[:_LONGEST], re.IGNORECASE):
            return Finish(name, meaning, _NO_SOURCE, kind)
    return Finish(name, Meaning.UNKNOWN, _NO_SOURCE)


_OPEN_SIGNS: Final = frozenset(",;:/\\&@#")
_ONE_WORD: Final = 24


def looks_whole(text: str) -> bool:
    """Whether a text ends like a complete answer: after a sentence, a closed bracket or block, or as one short word."""
    text = text.strip()
    if not text or only_by_prefill(text):
        return False
    last = text[-1]
    if unicodedata.category(last)[0] in "LMN":
        return len(text) <= _ONE_WORD and not any(character.isspace() for character in text)
    return last not in _OPEN_SIGNS and unicodedata.category(last) not in ("Pd", "Ps", "Pi", "Sm")
