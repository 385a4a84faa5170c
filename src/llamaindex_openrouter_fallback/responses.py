"""Converts the core's completions and pieces to LlamaIndex's responses."""

from __future__ import annotations

import base64
import binascii
from contextlib import suppress
from dataclasses import asdict
from typing import Any
from uuid import uuid4

from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    ContentBlock,
    ImageBlock,
    LogProb,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from openrouter_fallback import Attempt, Completion, Piece

Json = dict[str, Any]

_OF_USAGE = ("cost_details", "is_byok")
_OF_AN_ATTEMPT = ("model", "kind", "status", "seconds", "provider", "generation_id", "notes")


def chat_response(completion: Completion, delta: str | None = None) -> ChatResponse:
    """The chat response of a whole answer. `raw` is the body; `additional_kwargs` have tokens, cost and attempts."""
    return ChatResponse(
        message=_message(completion),
        raw=completion.raw,
        delta=delta,
        logprobs=_logprobs(completion),
        additional_kwargs=_facts(completion),
    )


def completion_response(completion: Completion, delta: str | None = None) -> CompletionResponse:
    """The text response of a whole answer, with the same `raw` and `additional_kwargs` as `chat_response`."""
    return CompletionResponse(
        text=_text(completion),
        raw=completion.raw,
        delta=delta,
        logprobs=_logprobs(completion),
        additional_kwargs=_facts(completion),
    )


class Growing:
    """A growing answer: every response has the whole answer so far, and the new text as its `delta`."""

    __slots__ = ("_reasoning", "_text")

    def __init__(self) -> None:
        self._text = self._reasoning = ""

    def add(self, piece: Piece) -> ChatResponse | CompletionResponse | None:
        """The response for one piece; None for a piece without text and reasoning, or of another choice."""
        if piece.index or not (piece.text or piece.reasoning):
            return None
        if piece.restarted:
            self._reasoning = ""  # another attempt has restarted the answer; only reasoning had been delivered
        self._text += piece.text
        self._reasoning += piece.reasoning
        return self._response(piece, {"thinking_delta": piece.reasoning} if piece.reasoning else {})

    def end(self, completion: Completion) -> ChatResponse | CompletionResponse:
        """The last response: the whole answer, with its tool calls."""
        raise NotImplementedError

    def _response(self, piece: Piece, extra: Json) -> ChatResponse | CompletionResponse:
        raise NotImplementedError


class GrowingChat(Growing):
    """The growing answer of `stream_chat`. `one_call` keeps only the first tool call.

    LlamaIndex itself limits the tool calls only in answers that are not streamed.
    """

    __slots__ = ("_one_call",)

    def __init__(self, one_call: bool) -> None:
        super().__init__()
        self._one_call = one_call

    def end(self, completion: Completion) -> ChatResponse:
        response = chat_response(completion, delta=_text(completion)[len(self._text) :])
        return first_call_only(response) if self._one_call else response

    def _response(self, piece: Piece, extra: Json) -> ChatResponse:
        blocks: list[ContentBlock] = [TextBlock(text=self._text)]
        if self._reasoning:
            blocks.insert(0, ThinkingBlock(content=self._reasoning))
        message = ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks)
        return ChatResponse(message=message, delta=piece.text, raw=piece.raw, additional_kwargs=extra)


class GrowingText(Growing):
    """The growing answer of `stream_complete`."""

    __slots__ = ()

    def end(self, completion: Completion) -> CompletionResponse:
        return completion_response(completion, delta=_text(completion)[len(self._text) :])

    def _response(self, piece: Piece, extra: Json) -> CompletionResponse:
        return CompletionResponse(text=self._text, delta=piece.text, raw=piece.raw, additional_kwargs=extra)


def first_call_only(response: ChatResponse) -> ChatResponse:
    """Keep only the first of several tool calls: the caller allows one, but a model may ignore that."""
    message = response.message
    later = [block for block in message.blocks if isinstance(block, ToolCallBlock)][1:]
    if later:
        message.blocks = [block for block in message.blocks if not any(block is one for one in later)]
        message.additional_kwargs["tool_calls"] = message.additional_kwargs["tool_calls"][:1]
    return response


def _message(completion: Completion) -> ChatMessage:
    message = completion.message
    blocks: list[ContentBlock] = []
    details = message.get("reasoning_details")
    if completion.reasoning or details:
        usage = completion.usage
        blocks.append(
            ThinkingBlock(
                content=completion.reasoning or None,
                num_tokens=(usage.reasoning_tokens or None) if usage else None,
                additional_information={"reasoning_details": details} if details else {},
            )
        )
    calls = completion.tool_calls
    media: list[ContentBlock] = [*_images(message), *_audio(message)]
    text = _text(completion)
    if text or not (calls or media):
        blocks.append(TextBlock(text=text))
    blocks += media
    extra: Json = {key: message[key] for key in ("refusal", "annotations") if message.get(key)}
    if isinstance(message.get("audio"), dict) and message["audio"].get("id"):
        extra["audio"] = {"id": message["audio"]["id"]}
    if calls:
        blocks += [
            # Some servers send no id, but the tool's result needs an id.
            ToolCallBlock(
                tool_call_id=call.id or f"call_{uuid4().hex}", tool_name=call.name, tool_kwargs=call.arguments
            )
            for call in calls
        ]
        extra["tool_calls"] = message["tool_calls"]
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs=extra)


def _text(completion: Completion) -> str:
    """The text of the answer, or the refusal."""
    return completion.text or completion.message.get("refusal") or ""


def _images(message: Json) -> list[ImageBlock]:
    urls = [(image.get("image_url") or {}).get("url") for image in message.get("images") or ()]
    return [image for url in urls if isinstance(url, str) and (image := _image(url)) is not None]


def _image(url: str) -> ImageBlock | None:
    """The image block of a URL; None for an invalid URL, which stays in `raw`."""
    head, _, data = url.partition(";base64,")
    if data and head.startswith("data:"):
        with suppress(binascii.Error, ValueError):
            return ImageBlock(image=base64.b64decode(data, validate=True), image_mimetype=head.removeprefix("data:"))
    with suppress(ValueError):
        return ImageBlock(url=url)
    return None


def _audio(message: Json) -> list[AudioBlock]:
    audio = message.get("audio")
    if not isinstance(audio, dict) or not isinstance(audio.get("data"), str):
        return []
    try:
        return [AudioBlock(audio=base64.b64decode(audio["data"], validate=True), format=audio.get("format"))]
    except (binascii.Error, ValueError):
        return []


def _facts(completion: Completion) -> Json:
    usage, raw = completion.usage, completion.raw
    told = raw["usage"] if isinstance(raw.get("usage"), dict) else {}
    facts: Json = {
        "model": completion.model,
        "provider": completion.provider,
        "finish_reason": completion.finish_reason,
        "cost": completion.cost,
        "attempts": [_attempt(attempt) for attempt in completion.attempts],
    }
    if raw.get("service_tier") is not None:
        facts["service_tier"] = raw["service_tier"]
    if completion.estimated:
        facts["estimated"] = True
    for key in _OF_USAGE:
        if told.get(key) is not None:
            facts[key] = told[key]
    if usage is not None:
        facts |= {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
        }
    if completion.seams:
        facts["seams"] = [asdict(seam) for seam in completion.seams]
    if completion.invalid_tool_calls:
        facts["invalid_tool_calls"] = list(completion.invalid_tool_calls)
    return facts


def _attempt(attempt: Attempt) -> Json:
    values = attempt.as_dict()
    return {key: values[key] for key in _OF_AN_ATTEMPT if key != "notes" or values[key]}


def _logprobs(completion: Completion) -> list[list[LogProb]] | None:
    logprobs = completion.choice.get("logprobs")
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not tokens:
        return None
    return [[_logprob(one) for one in token.get("top_logprobs") or (token,)] for token in tokens]


def _logprob(token: Json) -> LogProb:
    return LogProb(token=token["token"], logprob=token["logprob"], bytes=token.get("bytes") or [])
