"""The answer of an emulated model as an unstreamed body: a pure function of the request and the script."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ..models import families, money, registry, routing
from ..models.money import Served
from . import manners, tools
from .chunks import Body, pieces

DEFAULT_TOKENS = 20
OVERLAP_CHARACTERS = 30
TOKENS_PER_IMAGE = 1290
_ANSWERS = " answers:"
_GOOGLES = "google-gemini-v1"
_GO_ON = re.compile(r"\bcut off\b.*\bcontinue it\b", re.IGNORECASE | re.DOTALL)
_INSTRUCTION_CHARACTERS = 4_000  # a longer message is never an instruction to continue
PREFACE = "Sure, here is the rest:\n\n"
_PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
_SOURCE = {
    "url": "https://example.com/source",
    "title": "A source",
    "content": "What the source says.",
    "start_index": 0,
    "end_index": 0,
}
_WORDS = tuple(
    "amber birch cloud delta ember field grove haven inlet jolly kayak lunar maple north ocean "  # noqa: SIM905
    "pearl quiet river stone tidal under vivid water xenon yield zesty".split()
)


@dataclass(frozen=True, slots=True)
class Script:
    """A scripted answer. A field that is None has the emulator's default. `Emulator.reply` documents the fields."""

    text: str | None = None
    tokens: int | None = None
    reasoning: str | bool | None = None
    tool_calls: Sequence[Mapping[str, Any]] | None = None
    images: Sequence[Any] | None = None
    audio: Mapping[str, Any] | None = None
    annotations: Sequence[Mapping[str, Any]] | None = None
    finish_reason: str | None = None
    refusal: str | None = None
    logprobs: bool | Mapping[str, Any] | None = None
    usage: Mapping[str, Any] | None = None
    served_as: str | None = None
    prefill: str = "continue"
    instruct: str = "continue"


@dataclass(frozen=True, slots=True)
class Stamp:
    """The values that make two answers to the same request different."""

    number: int
    created: int
    seed: int = 0
    account: str | None = None
    """The account whose encrypted reasoning this is. Only strict mode sets the account.

    With an account, tool-call ids and reasoning details have the form of the model's family.
    """

    def digest(self) -> bytes:
        return hashlib.sha256(f"{self.seed}/{self.number}/{self.created}".encode()).digest()

    def generation_id(self) -> str:
        return f"gen-{self.created}-{base64.b32encode(self.digest()).decode()[:20]}"


def answer(request: Body, stamp: Stamp, script: Script | None = None, served: Served | None = None) -> dict[str, Any]:
    """The whole unstreamed body for a request, with usage and cost.

    Without `served`, the model's first provider serves the request.
    """
    script = script or Script()
    served = served or first_provider(request)
    made = [_choice(request, script, index, stamp, served) for index in range(request.get("n") or 1)]
    choices = [choice for choice, _ in made]
    counted = usage(request, choices, served, sum(hidden for _, hidden in made))
    named = request["model"].startswith("~") or request["model"] == registry.AUTO
    return {
        "id": stamp.generation_id(),
        "object": "chat.completion",
        "created": stamp.created,
        "model": script.served_as or (served.model.id if named else request["model"]),
        "provider": served.host.name,
        "system_fingerprint": None,
        "choices": choices,
        "usage": {**counted, **(script.usage or {})},
    }


def first_provider(request: Body) -> Served:
    """The model and its first provider for a request that has not been routed."""
    model = registry.Models().find(request["model"])
    if model is None:
        raise ValueError(f"{request['model']!r} is no model id")
    return Served(model, model.hosts[0], routing.prompt_tokens(request))


def usage(request: Body, choices: Sequence[Body], served: Served, hidden: int = 0) -> dict[str, Any]:
    """Token counts and cost (USD) of the choices and of `hidden` tokens of reasoning that the answer does not show."""
    reasoned = hidden + sum(len(pieces(choice["message"].get("reasoning") or "")) for choice in choices)
    drawn = sum(len(choice["message"].get("images") or ()) for choice in choices) * TOKENS_PER_IMAGE
    completion = reasoned + drawn + sum(_spoken(choice["message"]) for choice in choices)
    searched = int(routing.searches(request, served.model))
    prompt_cost, completion_cost = money.priced(served, completion, drawn, searched)
    return {
        "prompt_tokens": served.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": served.prompt_tokens + completion,
        "cost": float(prompt_cost + completion_cost),
        "is_byok": False,
        "prompt_tokens_details": {
            "cached_tokens": served.cached,
            "cache_write_tokens": served.written,
            "audio_tokens": 0,
            "video_tokens": 0,
        },
        "cost_details": {
            "upstream_inference_cost": None,
            "upstream_inference_prompt_cost": float(prompt_cost),
            "upstream_inference_completions_cost": float(completion_cost),
        },
        "completion_tokens_details": {"reasoning_tokens": reasoned, "image_tokens": drawn, "audio_tokens": 0},
        **({"server_tool_use_details": {"web_search_requests": searched}} if searched else {}),
    }


def native(model: str, finish_reason: str | None) -> str | None:
    """The finish reason in the vocabulary of the model's maker."""
    return None if finish_reason is None else registry.author(model).native.get(finish_reason, finish_reason)


def shorten(message: dict[str, Any], limit: int) -> bool:
    """Keep the first `limit` tokens of a message (reasoning, content, refusal, arguments); True if any were removed."""
    lost = False

    def take(text: str) -> str:
        nonlocal limit, lost
        tokens = pieces(text)
        kept = tokens[: max(limit, 0)]
        lost = lost or len(kept) < len(tokens)
        limit -= len(kept)
        return "".join(kept)

    if message.get("reasoning"):
        whole, message["reasoning"] = message["reasoning"], take(message["reasoning"])
        if message.get("reasoning_details") and message["reasoning"] != whole:
            # Reasoning that was cut off has no signature.
            first = {key: value for key, value in message["reasoning_details"][0].items() if key != "signature"}
            field = "summary" if first["type"] == "reasoning.summary" else "text"
            message["reasoning_details"] = [{**first, field: message["reasoning"]}]
    for key in ("content", "refusal"):
        if message.get(key):
            message[key] = take(message[key])
    cut = []
    for call in message.get("tool_calls") or ():
        if limit <= 0:
            lost = True
            break
        cut.append({**call, "function": {**call["function"], "arguments": take(call["function"]["arguments"])}})
    if cut:
        message["tool_calls"] = cut
    else:
        message.pop("tool_calls", None)
    return lost


def _spoken(message: Body) -> int:
    arguments = sum(len(pieces(call["function"]["arguments"])) for call in message.get("tool_calls") or ())
    return arguments + len(pieces(message.get("content") or "")) + len(pieces(message.get("refusal") or ""))


def _choice(request: Body, script: Script, index: int, stamp: Stamp, served: Served) -> tuple[dict[str, Any], int]:
    model = served.model.id
    message = _message(request, script, index, stamp, served)
    limit = request.get("max_completion_tokens") or request.get("max_tokens")
    cut_off = shorten(message, limit) if limit else False
    finish = script.finish_reason or ("length" if cut_off else "tool_calls" if message.get("tool_calls") else "stop")
    hidden = 0
    if (request.get("reasoning") or {}).get("exclude") or request.get("include_reasoning") is False:
        hidden = len(pieces(message["reasoning"] or ""))
        message["reasoning"] = None
        details = message.pop("reasoning_details", ())
        # Google signs tool calls. Without the signature, Google refuses the next step of the tool loop.
        signed = [one for one in details if one["type"] == "reasoning.encrypted" and one["format"] == _GOOGLES]
        message |= {"reasoning_details": signed} if signed and message.get("tool_calls") else {}
    choice = {
        "index": index,
        "message": message,
        "finish_reason": finish,
        "native_finish_reason": native(model, finish),
        "logprobs": _logprobs(request, script, message["content"] or ""),
    }
    return choice, hidden


def _message(request: Body, script: Script, index: int, stamp: Stamp, served: Served) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "", "refusal": script.refusal, "reasoning": None}
    reasoning = _reasoning(request, script, served, strict=stamp.account is not None)
    calls = _calls(request, script)
    if stamp.account is not None:
        _name(calls, script, f"{stamp.generation_id()}/{index}", stamp, served.model.id)
        nonce = hashlib.sha256(stamp.digest() + bytes([index % 256])).digest()
        details = manners.details(request, served, reasoning, calls, account=stamp.account, nonce=nonce)
        message |= {"reasoning": reasoning or None, **({"reasoning_details": details} if details else {})}
    elif reasoning:
        digest = hashlib.sha256(reasoning.encode()).digest()
        detail = {
            "type": "reasoning.text",
            "text": reasoning,
            "format": registry.author(served.model.id).reasoning_format,
            "index": 0,
            "signature": base64.b64encode(digest).decode(),
        }
        message |= {"reasoning": reasoning, "reasoning_details": [detail]}
    if calls:
        message["tool_calls"] = calls
    extras = {**_media(request, stamp, served), **_given(script)}
    message |= {key: value for key, value in extras.items() if value is not None}
    wordless = calls or script.refusal or script.images or script.audio
    if script.text is not None or script.tokens is not None or not wordless:
        message["content"] = _stopped(_text(request, script, index), request.get("stop"))
    return message


def _given(script: Script) -> dict[str, Any]:
    given = {"images": script.images, "audio": script.audio, "annotations": script.annotations}
    return {key: value for key, value in given.items() if value is not None}


def _media(request: Body, stamp: Stamp, served: Served) -> dict[str, Any]:
    """The image, audio and web sources that the request or the model demands."""
    wanted = request.get("modalities") or ()
    extras: dict[str, Any] = {}
    if "image" in wanted:
        extras["images"] = [{"type": "image_url", "image_url": {"url": _PIXEL}}]
    if "audio" in wanted:
        spoken = " ".join(_words(tools.last_text(request["messages"]), 4))
        sound = base64.b64encode(spoken.encode()).decode()
        extras["audio"] = {
            "id": f"audio_{stamp.number}",
            "data": sound,
            "transcript": spoken,
            "expires_at": stamp.created + 3600,
        }
    if routing.searches(request, served.model):
        extras["annotations"] = [{"type": "url_citation", "url_citation": dict(_SOURCE)}]
    return extras


def _calls(request: Body, script: Script) -> list[dict[str, Any]]:
    if script.tool_calls is None:
        return [] if script.text is not None else tools.calls(request)
    wanted = []
    for index, call in enumerate(script.tool_calls):
        function = call.get("function", call)
        wanted.append(tools.tool_call(function["name"], function.get("arguments", {}), index, call.get("id")))
    return wanted


def _name(calls: Sequence[dict[str, Any]], script: Script, answer: str, stamp: Stamp, model: str) -> None:
    """Give the tool calls ids in the form of the model's family. Ids from the script are kept."""
    given = [call.get("id") for call in script.tool_calls or ()] or [None] * len(calls)
    for position, (call, own) in enumerate(zip(calls, given, strict=True)):
        seed = manners.Seed(answer, stamp.number, call["function"]["name"], position)
        call["id"] = own or manners.call_id(model, seed)


def _reasoning(request: Body, script: Script, served: Served, *, strict: bool) -> str:
    if isinstance(script.reasoning, str):
        return script.reasoning
    model = served.model
    if strict:
        asked = families.thinks(request, model.id, able="reasoning" in model.parameters, must=model.must_reason)
    else:
        asked = families.reasons(request, always=model.must_reason) or bool(request.get("include_reasoning"))
    if script.reasoning or (script.reasoning is None and asked):
        return "Let me think about it: " + " ".join(_words(tools.last_text(request["messages"]) + "?", 4)) + "."
    return ""


def prefix(request: Body) -> str:
    """The text of the request's final assistant message, without trailing blanks; "" if another role is last."""
    last = request["messages"][-1]
    return tools.text_of(last.get("content")).rstrip() if last.get("role") == "assistant" else ""


def instructed(request: Body) -> bool:
    """Whether the request ends with an unfinished answer and an instruction to continue the answer."""
    roles = [message.get("role") for message in request["messages"][-2:]]
    instruction = tools.text_of(request["messages"][-1].get("content"))[:_INSTRUCTION_CHARACTERS]
    return roles == ["assistant", "user"] and bool(_GO_ON.search(instruction))


def _text(request: Body, script: Script, index: int) -> str:
    way = script.prefill
    if instructed(request):
        request, way = {**request, "messages": request["messages"][:-1]}, script.instruct
    delivered = prefix(request) if way != "restart" else ""
    if script.text is not None:
        whole = script.text
    elif (request.get("response_format") or {}).get("type") in ("json_object", "json_schema"):
        whole = _json(request)
    else:
        whole = _sentence(request, script.tokens or DEFAULT_TOKENS, index, delivered)
    if script.text is not None and script.tokens is not None:
        whole = _exactly(whole, script.tokens)
    if not delivered or not whole.startswith(delivered):
        return whole
    again = {"overlap": delivered[-OVERLAP_CHARACTERS:], "preface": PREFACE}.get(way, "")
    return again + whole[len(delivered) :]


def _sentence(request: Body, tokens: int, index: int, delivered: str) -> str:
    # The words do not depend on the model, so another model continues exactly where the first model stopped.
    prompt = tools.last_text(request["messages"])
    opening, answers, _ = delivered.partition(_ANSWERS)
    if delivered and not answers:
        opening = next(
            delivered[: len(delivered) - n] for n in range(len(_ANSWERS), -1, -1) if delivered.endswith(_ANSWERS[:n])
        )
    opening = f"{opening if delivered else request['model']}{_ANSWERS}"
    words = " ".join(_words(f"{prompt}/{index}" if index else prompt, tokens))
    return _exactly(f"{opening} {words}", tokens)


def _exactly(text: str, tokens: int) -> str:
    found = pieces(text)
    while len(found) < tokens:
        found += pieces(" " + text)
    return "".join(found[:tokens])


def _words(seed: str, count: int) -> list[str]:
    state = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big")
    words = []
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        words.append(_WORDS[(state >> 33) % len(_WORDS)])
    return words


def _json(request: Body) -> str:
    prompt = tools.last_text(request["messages"])
    schema = (request["response_format"].get("json_schema") or {}).get("schema")
    if schema is None:
        # JSON mode: the keys are the quoted words of the prompt.
        keys = dict.fromkeys(tools.quoted(prompt)) or ["answer"]
        value: Any = {key: " ".join(_words(prompt + key, 6)) for key in keys}
    else:
        value = tools.instance(schema, prompt)
    return orjson.dumps(value).decode()


def _stopped(text: str, stop: Any) -> str:
    ends = [text.find(word) for word in ([stop] if isinstance(stop, str) else stop or ()) if word in text]
    return text[: min(ends)] if ends else text


def _logprobs(request: Body, script: Script, content: str) -> dict[str, Any] | None:
    if isinstance(script.logprobs, Mapping):
        return dict(script.logprobs)
    if not (script.logprobs or request.get("logprobs")):
        return None
    tokens = [{"token": token, "logprob": -0.1, "bytes": list(token.encode())} for token in pieces(content)]
    top = request.get("top_logprobs") or 0
    return {"content": [{**token, "top_logprobs": [token][:top]} for token in tokens], "refusal": None}
