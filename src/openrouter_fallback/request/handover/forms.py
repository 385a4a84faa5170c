"""The form in which a history is sent, its target, and the refusals that require a stricter form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ...failures.kinds import Failure, FailureKind
from .rules import NINE, IdForm, Reasoning, Rule


class Form(StrEnum):
    """How much of a history is removed before it is sent."""

    NORMAL = "normal"
    UNSIGNED = "unsigned"
    """Without signed or encrypted reasoning: the target cannot verify the signatures of this conversation."""
    TOLD = "told"
    """Where the request has no tools: calls and results as text. The provider reads them only beside tools."""
    SINGLE = "single"
    """Parallel calls one by one, each with its result."""
    STRICT = "strict"
    """Ids of 9 letters or digits unless the table has a rule, no names, no reasoning, text blocks joined."""
    REASONED = "strict_reasoned"
    """As `STRICT`, with plain reasoning in every assistant message: the refusal named it as missing."""


@dataclass(frozen=True, slots=True)
class Target:
    """The model that gets a history.

    `model` is the id in the request, `slug` the catalog's id, `host` the endpoint's. `thinking`: whether the request
    asks for reasoning; None if it does not say. `prefills`: the user says that the model continues a final assistant
    message. `unsigned`: no signed reasoning, since what it binds goes in another form.
    """

    rule: Rule
    model: str
    slug: str | None = None
    on_openrouter: bool = True
    host: str = ""
    thinking: bool | None = None
    form: Form = Form.NORMAL
    prefills: bool = False
    unsigned: bool = False

    @property
    def ends_with_assistant(self) -> bool:
        """Whether the last message may be the assistant's."""
        return self.prefills or (self.rule.prefills and not self.strict)

    @property
    def marks(self) -> bool:
        """Whether `cache_control` may be sent."""
        return self.rule.marks and not self.strict and (self.on_openrouter or self.rule.marks_elsewhere)

    @property
    def signed(self) -> bool:
        """Whether signed or encrypted reasoning may be sent."""
        return not self.strict and not self.unsigned and self.form is not Form.UNSIGNED

    @property
    def strict(self) -> bool:
        """Whether the strictest form is required."""
        return self.form in _STRICTEST

    @property
    def ids(self) -> IdForm:
        """The form of tool-call ids."""
        return self.rule.ids if not self.strict or self.rule.ids.counted else NINE

    @property
    def demands_reasoning(self) -> bool:
        """Whether assistant messages must have plain reasoning."""
        if self.strict:
            return self.form is Form.REASONED
        thinks = self.rule.thinks_unasked(self.model) if self.thinking is None else self.thinking
        return self.rule.reasoning is Reasoning.DEMANDED and thinks

    @property
    def field(self) -> str:
        """The field name of plain reasoning; empty: the endpoint refuses plain reasoning."""
        if self.on_openrouter:
            return "reasoning"
        return "" if self.refuses_reasoning else self.rule.field

    @property
    def refuses_reasoning(self) -> bool:
        """Whether the endpoint refuses messages with reasoning under any name."""
        return self.host in _REFUSE_REASONING


_STRICTEST: Final = frozenset({Form.STRICT, Form.REASONED})
# jan#8136, Kai#265: "property 'reasoning_content' is unsupported".
_REFUSE_REASONING: Final = frozenset({"api.groq.com", "api.cerebras.ai"})

# dify#17545, kibana#246943 (Bedrock); anthropic-sdk-python#849: the same words, before `tool_choice: none`.
_NO_TOOLS: Final = re.compile(r"toolConfig field must be defined|must define tools", re.IGNORECASE)
# vLLM's page on tool calling, and the chat template of Llama 3; dao-ai#94 (gpt-oss on Databricks).
_ONE_CALL: Final = re.compile(r"single tool.calls|multiple tool calls are not supported", re.IGNORECASE)

_STATUSES: Final = frozenset({400, 422})
_KINDS: Final = frozenset({FailureKind.REJECTED, FailureKind.INVALID_REQUEST, FailureKind.UNSUPPORTED})
# Words of refusals of a history's form. Each has a source in the rules; refusals of parameters use other words.
_NAMED: Final = re.compile(
    r"must define tools|toolConfig|single tool.calls|multiple tool calls are not supported"
    r"|tool.?call.?id|tool_use|tool_result|call_id|\bids? (?:was|is|must|should|not|does)|invalid.{0,20}\bid\b|\bid:"
    r"|\bitem with id|tool_calls|function.?call|tool messages?|tool results?|tool_?choice.{0,20}name"
    r"|function.{0,12}name|\.name\b|\bnames?\b.{0,40}(?:pattern|match|invalid|must|characters)|invalid.{0,20}\bname"
    r"|reasoning|thinking|thought|signature|encrypted"
    r"|content.?(?:block|part|type)|text content|message content|non-?empty|must not be empty|blank|whitespace"
    r"|tool.?calls? (?:and )?results?|messages? (?:parameter|\u53c2\u6570)|messages\.content"
    r"|messages?(?:[\[.]|', )\d|messages? .{0,40}(?:role|content)|\broles?\b|system message|conversation"
    r"|(?:json|object|dict\w*).{0,60}\barguments|\barguments.{0,60}(?:json|object|dict)|item pairs from a mapping"
    r"|cache_control|extra (?:inputs|fields)|unsupported.{0,20}(?:block|part|content)",
    re.IGNORECASE,
)
_UNVERIFIED: Final = re.compile(r"signature|encrypted|thinking|thought", re.IGNORECASE)
_MISSING_REASONING: Final = re.compile(
    r"reasoning(?:_content|_details| content)?\W{0,3}(?:is|are|was|field)?.{0,40}(?:missing|required|passed back)"
    r"|missing.{0,20}reasoning",
    re.IGNORECASE,
)


def needs_strict(failure: Failure) -> Form | None:
    """The form in which to call the same model again after this refusal; None if it does not concern the history.

    Such a refusal is a 400 or 422 that names an id, a name, reasoning, a role or a block. An invalid signature
    concerns one conversation; all other refusals show a rule of the model.
    """
    if failure.status not in _STATUSES or failure.kind not in _KINDS or not _NAMED.search(failure.message):
        return None
    if _NO_TOOLS.search(failure.message):
        return Form.TOLD
    if _ONE_CALL.search(failure.message):
        return Form.SINGLE
    # Gemini's refusal names OpenRouter's reasoning details, but concerns the signature.
    if _MISSING_REASONING.search(failure.message) and "signature" not in failure.message:
        return Form.REASONED
    return Form.UNSIGNED if _UNVERIFIED.search(failure.message) else Form.STRICT


def asks_for_thinking(*params: Mapping[str, object]) -> bool | None:
    """Whether parameters switch reasoning on or off; the first that do decide. None: they do neither."""
    for given in params:
        reasoning = given.get("reasoning")
        if isinstance(reasoning, Mapping) and reasoning:
            return reasoning.get("enabled") is not False and reasoning.get("effort") != "none"
        effort = given.get("reasoning_effort")
        if effort is not None:
            return effort != "none"
        if isinstance(given.get("include_reasoning"), bool) and given["include_reasoning"]:
            return True
    return None
