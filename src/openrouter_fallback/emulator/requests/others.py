"""The histories that the servers of Mistral, Moonshot, DeepSeek, Qwen, xAI and Cohere refuse."""

from __future__ import annotations

import re
from itertools import pairwise

from ..answers.tools import text_of
from . import anthropic, openai
from .history import Complaint, History, has_reasoning

_MISTRAL_ID = re.compile(r"[a-zA-Z0-9]{9}")
_MISTRAL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_KIMI_ID = re.compile(r"functions\.(?P<name>.+):(?P<number>\d+)")
_ORDER = "3230"
_FIRST_THAT_WANTS_REASONING = (3, 2)
_QWEN_LOOKS = re.compile(r"qwen-?(?:3\.[5-9]|[4-9])")


def mistral_ids(history: History) -> Complaint | None:
    found = [call["id"] for _, _, call in history.calls()]
    found += [message["tool_call_id"] for message in history.messages if message["role"] == "tool"]
    for one in found:
        if not _MISTRAL_ID.fullmatch(one):
            return Complaint(f"Tool call id was {one} but must be a-z, A-Z, 0-9, with a length of 9.", code="3280")
    return None


def mistral_names(history: History) -> Complaint | None:
    for _, _, call in history.calls():
        name = call["function"]["name"]
        if not _MISTRAL_NAME.fullmatch(name):
            return Complaint(
                f"Function name was {name} but must be a-z, A-Z, 0-9, or contain underscores and dashes, with a "
                "maximum length of 64."
            )
    return None


def mistral_order(history: History) -> Complaint | None:
    """After a tool result comes another result or an assistant message. Results come only after their calls."""
    before = None
    waiting: list[str] = []
    for message in history.messages:
        role = message["role"]
        if before == "tool" and role in ("user", "system", "developer"):
            return Complaint(f"Unexpected role '{role}' after role 'tool'", code=_ORDER)
        if role == "tool" and not waiting and before != "tool":
            return Complaint(f"Unexpected role 'tool' after role '{before}'", code=_ORDER)
        if role == "tool":
            if message["tool_call_id"] not in waiting:
                return Complaint("Unexpected tool call id in tool results", code=_ORDER)
            waiting.remove(message["tool_call_id"])
        elif waiting:
            break
        else:
            waiting = [call["id"] for call in message.get("tool_calls") or ()]
        before = role
    return Complaint("Not the same number of function calls and responses", code=_ORDER) if waiting else None


def mistral_results_are_text(history: History) -> Complaint | None:
    for message in history.messages:
        content = message.get("content")
        if message["role"] == "tool" and isinstance(content, list) and any(p["type"] != "text" for p in content):
            return Complaint("Input should be <ChunkTypes.text: 'text'> (ToolMessage, content.list[TextChunk].type)")
    return None


def mistral_last(history: History) -> Complaint | None:
    last = history.messages[-1]
    if last["role"] == "assistant" and not last.get("prefix"):
        words = "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant"
        return Complaint(words, code=_ORDER)
    return None


def mistral_reasoning(history: History) -> Complaint | None:
    if "magistral" in history.model.id:
        return None
    if any(has_reasoning(m) or m.get("reasoning_details") for m in history.messages if m["role"] == "assistant"):
        return Complaint("Reasoning input is not enabled for this model", code="3051")
    return None


def mistral_empty(history: History) -> Complaint | None:
    for message in history.messages:
        if message["role"] == "assistant" and not message.get("tool_calls") and not message.get("content"):
            return Complaint("Assistant message must have either content or tool_calls, but not none.", code="3240")
    return None


def kimi_results_are_text(history: History) -> Complaint | None:
    for message in history.messages:
        content = message.get("content")
        if message["role"] == "tool" and isinstance(content, list) and any(p["type"] != "text" for p in content):
            return Complaint("Invalid request: tool message content only supports text")
    return None


def kimi_reasoning(history: History) -> Complaint | None:
    if not history.thinks:
        return None
    for index, message in enumerate(history.messages):
        if message.get("tool_calls") and not has_reasoning(message):
            words = "thinking is enabled but reasoning_content is missing in assistant tool call message at index"
            return Complaint(f"{words} {index}")
    return None


def kimi_is_silent(history: History) -> bool:
    """Whether K2 answers with an empty text: the tool-call ids are not `functions.NAME:n` with n counted upwards."""
    if history.version[0] != 2:
        return False
    before = -1
    for _, _, call in history.calls():
        found = _KIMI_ID.fullmatch(call["id"])
        if not found or found["name"] != call["function"]["name"] or int(found["number"]) <= before:
            return True
        before = int(found["number"])
    return False


def deepseek_reasoning(history: History) -> Complaint | None:
    """From V3.2 on, messages with tool calls of the current turn keep their reasoning."""
    if not history.thinks or history.version < _FIRST_THAT_WANTS_REASONING:
        return None
    for index, _, _ in history.calls(history.turn_start):
        if not has_reasoning(history.messages[index]):
            return Complaint(
                "The `reasoning_content` in the thinking mode must be passed back to the API.",
                code="invalid_request_error",
            )
    return None


def deepseek_reasoner(history: History) -> Complaint | None:
    """R1 accepts no reasoning and no adjacent messages of one side. The last message is a user message or a result."""
    if "-r1" not in history.model.id and "reasoner" not in history.model.id:
        return None
    messages = history.messages
    if any(message.get("reasoning_content") for message in messages):
        return Complaint(
            "The reasoning_content field must not be included in the input messages.", code="invalid_request_error"
        )
    for index, (one, next_) in enumerate(pairwise(messages)):
        if one["role"] == next_["role"] and one["role"] in ("user", "assistant"):
            return Complaint(
                f"deepseek-reasoner does not support successive user or assistant messages (messages[{index}] and "
                f"messages[{index + 1}] in your input). You should interleave the user/assistant messages in the "
                "message sequence.",
                code="invalid_request_error",
            )
    if messages[-1]["role"] == "assistant" and not messages[-1].get("prefix"):
        return Complaint(
            "The last message of deepseek-reasoner must be a user message, or an assistant message with prefix mode on "
            "(refer to https://api-docs.deepseek.com/guides/chat_prefix_completion).",
            code="invalid_request_error",
        )
    return None


def qwen_order(history: History) -> Complaint | None:
    found = openai.results(history)
    if found is None:
        return None
    if found.words.startswith("Invalid parameter"):
        words = 'messages with role "tool" must be a response to a preceeding message with "tool_calls".'
    else:
        words = (
            'An assistant message with "tool_calls" must be followed by tool messages responding to each '
            f'"tool_call_id". The following tool_call_ids did not have response messages: {found.param}'
        )
    return Complaint(f"<400> InternalError.Algo.InvalidParameter: {words}", code="invalid_parameter_error")


def qwen_lists(history: History) -> Complaint | None:
    """A message without calls has no list of them."""
    if openai.lists(history) is None:
        return None
    words = "<400> InternalError.Algo.InvalidParameter: Empty tool_calls is not supported in message."
    return Complaint(words, code="invalid_parameter_error")


def qwen_user(history: History) -> Complaint | None:
    """The chat template looks for the last question of a user."""
    if not _QWEN_LOOKS.search(history.model.id) or any(message["role"] == "user" for message in history.messages):
        return None
    return Complaint("No user query found in messages.")


def qwen_arguments(history: History) -> Complaint | None:
    """vLLM parses the arguments of the history's calls for the chat template."""
    for _, _, call in history.calls():
        if not anthropic.is_object(call["function"]["arguments"] or "{}"):
            return Complaint("Invalid JSON in the arguments of a tool call of the history: expected an object")
    return None


def xai_empty(history: History) -> Complaint | None:
    for message in history.messages:
        if not message.get("content") and not message.get("tool_calls") and message["role"] != "tool":
            return Complaint("Invalid request content: Each message must have at least one content element.")
    return None


def cohere_empty(history: History) -> Complaint | None:
    for message in history.messages:
        content = message.get("content")
        spoken = (
            content if isinstance(content, list) and any(p["type"] != "text" for p in content) else text_of(content)
        )
        if not spoken and not message.get("tool_calls") and message["role"] != "tool":
            return Complaint(
                "invalid request: message must be at least 1 token long or tool results must be specified."
            )
    return None
