"""The rules by which each family checks a history, with sources: one row for a family or one of its generations.

A row states the form of tool-call ids, whether reasoning is demanded, allowed or refused, whether a signature is
demanded, and which shapes of messages are refused. `rule_for` returns the first row that matches a model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Final

from ...routes.model_families import Family, family_of


class Reasoning(StrEnum):
    """How a family treats plain reasoning in assistant messages of the history."""

    DEMANDED = "demanded"
    """While the model reasons, an assistant message without reasoning is refused."""
    ALLOWED = "allowed"
    """Reasoning of the family is sent back; that of other families is removed."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class IdForm:
    """The form of tool-call ids.

    `counted`: `functions.NAME:n`, counted from 0 over the conversation; then `pattern` is ignored. `make` names the
    form of a new id: `call` (29 characters, `call_` and 24 letters or digits) or `nine` (9 letters or digits). `words`:
    1 to so many letters, digits, `_` and `-` have the form, which is checked faster than a pattern.
    """

    pattern: str
    make: str = "call"
    counted: bool = False
    words: int = 0


# Bedrock's ToolUseBlock: toolUseId, 1 to 64 of [a-zA-Z0-9_-]. OpenRouter may serve open models there too, so this form
# is used for every family without its own rule; new ids have at most 40 characters.
WORDS: Final = IdForm(r"[a-zA-Z0-9_-]{1,64}", words=64)
SHORT: Final = IdForm(r"[^\x00-\x1f]{1,40}", words=40)
NINE: Final = IdForm(r"[a-zA-Z0-9]{9}", make="nine")
COUNTED: Final = IdForm("", counted=True)
COMMON: Final = IdForm(r"[a-zA-Z0-9_-]{1,40}", words=40)

FUNCTION: Final = r"[a-zA-Z0-9_-]{1,64}"
"""The form of function names at most providers."""
FUNCTION_OF_GOOGLE: Final = r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}"
NAME: Final = r"[^\s<|\\/>]{1,64}"
"""The form of `message.name`: langgraph#248, and OpenAI's reference of chat completions."""


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One row.

    `models` matches the names of a generation; `ids`, `functions` and `names` are the forms of tool-call ids, function
    names and `message.name`. `reasoning`: see `Reasoning`; `everywhere`: every assistant message must have it, not only
    those with tool calls; `thinks`: models that reason although the request does not ask for it. `formats`: the
    `format` of signed or encrypted reasoning that the models read (none: they have none). `signature`: a tool call
    without a signature is refused. `thinking_first`: with reasoning on, a tool loop must begin with signed reasoning.
    `binds`: a signature covers all messages before it. `marks`: `cache_control` has effect; `most_marks`: how many
    are accepted, 0: any number; `marks_elsewhere`: endpoints other than OpenRouter know them too. `empties`: empty
    contents are accepted. `alternates`: no two messages of the user or of the assistant in a row; `bridges`: an
    assistant message between a tool result and a user message. `opens`: behind the system messages a user message
    comes first. `objects`: the arguments of calls are JSON objects. `prefills`: a final assistant message is
    continued; else it is refused, or answered anew. `trims`: it does not end with white space. `system`: the place
    of system messages: `anywhere`, `first` (any number) or `one`. `pictures`: images in tool results are read.
    `developer`: the role is known. `field`: the field name of plain reasoning on endpoints other than OpenRouter;
    empty: not sent there.
    """

    family: Family
    models: str = ""
    ids: IdForm = WORDS
    functions: str = FUNCTION
    names: str = NAME
    reasoning: Reasoning = Reasoning.ALLOWED
    everywhere: bool = False
    thinks: str = ""
    formats: frozenset[str] = frozenset()
    signature: bool = False
    thinking_first: bool = False
    binds: bool = False
    marks: bool = False
    most_marks: int = 0
    marks_elsewhere: bool = True
    empties: bool = False
    alternates: bool = False
    bridges: bool = False
    opens: bool = False
    objects: bool = True
    prefills: bool = True
    trims: bool = False
    system: str = "anywhere"
    pictures: bool = False
    developer: bool = False
    field: str = ""
    sources: tuple[str, ...] = ()

    def thinks_unasked(self, model: str) -> bool:
        """Whether the model reasons although the request does not ask for reasoning."""
        return bool(self.thinks) and re.search(self.thinks, model.lower()) is not None


# ReasoningFormat in OpenRouter's API description -> the family whose models read this format.
FORMATS: Final[Mapping[str, Family]] = {
    "anthropic-claude-v1": Family.ANTHROPIC,
    "azure-openai-responses-v1": Family.OPENAI,
    "bedrock-openai-responses-v1": Family.OPENAI,
    "bedrock-xai-responses-v1": Family.XAI,
    "google-gemini-v1": Family.GOOGLE,
    "meta-responses-v1": Family.META,
    "openai-responses-v1": Family.OPENAI,
    "xai-responses-v1": Family.XAI,
}


def _formats(family: Family) -> frozenset[str]:
    return frozenset(name for name, maker in FORMATS.items() if maker is family)


_BEDROCK = "docs.aws.amazon.com/bedrock: ToolUseBlock.toolUseId"
_OPENS = (
    "kibana#246393, deepgram-python-sdk#760, pydantic-ai#4495 (Bedrock): a conversation must start with a user message"
)
_OBJECTS = "prism#659, xum#442 (tool_use.input), vllm#43995, sglang#28035: arguments are a JSON object"
_EMPTY = "langchain#35504, claude-code#59812 (text content blocks must be non-empty)"

_CLAUDE: Final = Rule(
    Family.ANTHROPIC,
    reasoning=Reasoning.REFUSED,
    formats=_formats(Family.ANTHROPIC),
    thinking_first=True,
    binds=True,
    marks=True,
    most_marks=4,
    opens=True,
    trims=True,
    system="first",
    pictures=True,
    sources=(
        "langchain#37756, openclaw#10223: tool_use.id matches [a-zA-Z0-9_-]+; 64 on Bedrock: " + _BEDROCK,
        "openai-agents-python#1704, pydantic-ai#2075: with thinking, a tool loop must begin with a thinking block",
        "litellm#20403: images in tool results are read; no other family's model did",
        "agno#8794: a thinking block needs its whole text and its signature",
        "claude-code#63268: of newer models a signature also holds for what precedes it, and nothing else",
        "platform.claude.com, working with messages: no role `system` among the messages (before Opus 4.8)",
        "forgecode#1872, langchain#35072: final assistant content cannot end with trailing whitespace",
        "continue#6937, vellum-assistant#23506: a maximum of 4 blocks with cache_control may be provided",
        "vscode#315505: which four are worth most: the last ones, and that of the instructions",
        _OPENS,
        _OBJECTS,
        _EMPTY,
    ),
)

_GPT: Final = Rule(
    Family.OPENAI,
    ids=SHORT,
    reasoning=Reasoning.REFUSED,
    formats=_formats(Family.OPENAI),
    empties=True,
    objects=False,
    developer=True,
    sources=(
        "langchain#29021, vercel/ai#5171: tool-call ids of 1 to 40 characters (64 in the Responses API)",
        "OpenHands#7700, openai-node#1030: images are in messages of the user only; openai-openapi#523: others are "
        "not seen",
        "openai-python#2061 (and Qwen: vscode-unify-chat-provider#65): no empty list of tool calls",
        "langgraph#248: message.name matches ^[^\\s<|\\\\/>]+$, at most 64",
        "codex#3573, CLIProxyAPI#1793: encrypted reasoning is bound to an account, a region, a provider",
        "langchain#37777: ids rs_... of responses that are not stored are unknown",
    ),
)

_GEMINI: Final = Rule(
    Family.GOOGLE,
    functions=FUNCTION_OF_GOOGLE,
    reasoning=Reasoning.REFUSED,
    formats=_formats(Family.GOOGLE),
    signature=True,
    marks=True,
    marks_elsewhere=False,
    opens=True,
    pictures=True,
    sources=(
        "hermes-agent#55427, gemini-cli#11814, litellm#13769: there is a turn, and the first is the user's",
        "ai.google.dev/gemini-api/docs/function-calling: from Gemini 3 on a function response may hold images",
        "ai.google.dev/gemini-api/docs/thought-signatures: the first call of each step needs one; "
        "skip_thought_signature_validator replaces that of a history which another model wrote",
        "MassGen#624, claude-code-router#1081: the refusal through OpenRouter (reasoning details to be preserved)",
        "Roo-Code#10640: through OpenRouter one entry of reasoning_details for each assistant message, of type "
        "reasoning.encrypted and format google-gemini-v1, its id that of the first call, its index 0",
    ),
)

RULES: Final[tuple[Rule, ...]] = (
    replace(
        _CLAUDE,
        models=r"claude-(?:[a-z]+-)?(?:4[.-](?:[6-9]|\d\d)|[5-9]|\d\d)(?!\d)|claude-(?:opus|sonnet)-latest|mythos",
        prefills=False,
        sources=(
            "platform.claude.com, migration guide: a final assistant message is a 400 from Claude 4.6 on",
            "deepagents#1585, strands-agents#1694, agno docs#570: the conversation must end with a user message",
            *_CLAUDE.sources,
        ),
    ),
    _CLAUDE,
    Rule(
        Family.OPENAI,
        models=r"gpt-oss",
        reasoning=Reasoning.ALLOWED,
        formats=_formats(Family.OPENAI),
        developer=True,
        sources=(
            "open weights, served by many: " + _BEDROCK,
            "jan#8136, Kai#265: Groq refuses reasoning_content, so none is sent to other endpoints",
        ),
    ),
    replace(
        _GPT,
        models=r"gpt-(?:5\.(?:[6-9]|\d\d)|[6-9])",
        marks=True,
        marks_elsewhere=False,
        sources=(
            "openrouter.ai/docs, AnthropicCacheControlDirective: marks are converted for OpenAI's models that cache "
            "explicitly; developers.openai.com, prompt caching: GPT-5.6 and later",
            *_GPT.sources,
        ),
    ),
    _GPT,
    Rule(
        Family.GOOGLE,
        models=r"gemma",
        functions=FUNCTION_OF_GOOGLE,
        reasoning=Reasoning.REFUSED,
        alternates=True,
        bridges=True,
        opens=True,
        system="first",
        sources=("the chat template of Gemma: roles must alternate user/assistant/user/assistant", _BEDROCK),
    ),
    Rule(
        Family.GOOGLE,
        models=r"gemini-(?:1|2)[.-]|gemini-pro$|palm",
        functions=FUNCTION_OF_GOOGLE,
        reasoning=Reasoning.REFUSED,
        formats=_formats(Family.GOOGLE),
        marks=True,
        marks_elsewhere=False,
        opens=True,
        sources=(
            "hermes-agent#55427, gemini-cli#11814, litellm#13769: there is a turn, and the first is the user's",
            "ai.google.dev/gemini-api/docs/thought-signatures: up to 2.5 a signature is optional",
            "ai.google.dev/gemini-api/docs/function-calling: names begin with a letter or an underscore",
        ),
    ),
    replace(
        _GEMINI,
        models=r"gemini-(?:3\.5-flash-lite|3\.[6-9]|[4-9])",
        prefills=False,
        sources=(
            "LibreChat-AI/agents#323 (tried), opencode#47034: requests ending with a model turn are not supported",
            *_GEMINI.sources,
        ),
    ),
    _GEMINI,
    Rule(
        Family.MISTRAL,
        ids=NINE,
        reasoning=Reasoning.REFUSED,
        alternates=True,
        bridges=True,
        opens=True,
        prefills=False,
        system="first",
        sources=(
            "crewAI#2194, opencode#19115: the last role is the user's or a tool's, or there is Mistral's own `prefix`",
            "discourse-ai#703, crewAI#2580: the first role behind the system's is the user's",
            "opencode#1680, openclaw#52548 (through OpenRouter, code 3280): exactly 9 of a-z, A-Z, 0-9",
            "hermes-agent#20154, avante.nvim#2695, crush#279 (code 3230): no user message behind a tool result",
            "suitenumerique/conversations#402: reasoning in the history is refused",
            "LibreChat-AI/agents#344: a tool result holds text only",
        ),
    ),
    Rule(
        Family.MOONSHOT,
        models=r"k3|latest",
        reasoning=Reasoning.DEMANDED,
        thinks=r"k3|latest|thinking",
        field="reasoning_content",
        sources=(
            "sglang#33343, smg#2104: K3 never renders the id into the prompt; its own ids are NAME_n",
            "gptme#1187, deer-flow#3043: thinking is enabled but reasoning_content is missing",
            "crush#2696: an empty reasoning_content is refused",
        ),
    ),
    Rule(
        Family.MOONSHOT,
        ids=COUNTED,
        reasoning=Reasoning.DEMANDED,
        thinks=r"thinking|k2\.[5-9]",
        field="reasoning_content",
        sources=(
            "MoonshotAI/Kimi-K2, docs/tool_call_guidance.md: functions.{func_name}:{idx}, read from the prompt",
            "kimchi#1066, exo#1413: with other ids the model goes silent or is confused",
            "vllm#43203: images in a tool result are refused",
            "gptme#1187, oh-my-pi#787, deer-flow#3043: reasoning_content is missing in assistant tool call message",
            "crush#2696: an empty reasoning_content is refused",
        ),
    ),
    Rule(
        Family.DEEPSEEK,
        models=r"r1(?![0-9])",
        reasoning=Reasoning.REFUSED,
        alternates=True,
        prefills=False,
        sources=(
            "api-docs.deepseek.com/guides/reasoning_model: reasoning_content in the input gives a 400",
            "DeepSeek-R1#21, litellm#8018, aider#2960: no successive user or assistant messages",
            "gptme#467: the last message must be a user message, or have `prefix`, which is DeepSeek's own",
            _BEDROCK,
        ),
    ),
    Rule(
        Family.DEEPSEEK,
        reasoning=Reasoning.DEMANDED,
        everywhere=True,
        thinks=r"reasoner|v[4-9]|speciale|thinking",
        field="reasoning_content",
        sources=(
            "api-docs.deepseek.com/guides/thinking_mode: a turn with tool calls must come back with reasoning_content",
            "kimi-cli#2141, openclaw#73417: V4 demands it of every assistant message",
        ),
    ),
    Rule(
        Family.QWEN,
        marks=True,
        most_marks=4,
        opens=True,
        system="one",
        sources=(
            "vllm#36432, dify#33152 (the chat template from 3.5 on): No user query found in messages",
            "vllm#41114, oh-my-pi#958: System message must be at the beginning (one only)",
            "openrouter.ai/docs/features/prompt-caching: cache_control for Alibaba's Qwen; at most 4 in a request: "
            "alibabacloud.com/help/model-studio/context-cache",
            _BEDROCK,
        ),
    ),
    Rule(
        Family.XAI,
        formats=_formats(Family.XAI),
        sources=(
            "hackerai#996, grok2api#689: encrypted_content of another model or account cannot be decrypted",
            _BEDROCK,
        ),
    ),
    Rule(
        Family.META,
        reasoning=Reasoning.REFUSED,
        formats=_formats(Family.META),
        sources=(_BEDROCK, "the chat template of Llama: one system message, in front or none"),
        system="first",
    ),
    Rule(
        Family.COHERE,
        reasoning=Reasoning.REFUSED,
        prefills=False,
        sources=(
            "SillyTavern#3692: a final assistant message is accepted, and answered anew",
            "langchain-oracle#10: tool calls must be followed by their results, and these need their calls",
            _BEDROCK,
        ),
    ),
    Rule(
        Family.PERPLEXITY,
        reasoning=Reasoning.REFUSED,
        alternates=True,
        bridges=True,
        opens=True,
        prefills=False,
        system="first",
        sources=(
            "docs.perplexity.ai: behind the system messages, user and assistant roles alternate",
            "litellm#3918: the last message must have the role `user`",
        ),
    ),
    Rule(
        Family.OTHER,
        ids=COMMON,
        opens=True,
        sources=(_BEDROCK, "langchain#29021: what both Anthropic and OpenAI accept", _OPENS, _OBJECTS, _EMPTY),
    ),
)


@lru_cache(maxsize=1024)
def rule_for(model: str, slug: str | None = None, host: str = "") -> Rule:
    """The row of a model: `model` is the id in the request, `slug` the catalog's id, `host` the endpoint's."""
    family = family_of(model, slug, host)
    name = model.lower() if family is family_of(model) or not slug else f"{model} {slug}".lower()
    return next(rule for rule in RULES if rule.family is family and (not rule.models or re.search(rule.models, name)))
