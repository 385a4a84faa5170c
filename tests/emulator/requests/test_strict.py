"""Strict mode: each family's rules on histories that are written by hand; right ones pass, wrong ones are refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from openrouter_fallback.emulator import Emulator
from openrouter_fallback.emulator.models.registry import Models
from openrouter_fallback.emulator.requests.history import History
from openrouter_fallback.emulator.requests.strict import RULES, SILENCE, refusal

from ...cases.strict_histories import (
    ASKED,
    BEGINNINGS,
    CLAUDE,
    EMPTY,
    ENCRYPTED,
    GPT,
    KIMI,
    MISTRAL,
    RIGHT,
    SAID,
    WRONG,
    loop,
    parts,
    text,
)
from ..helpers import Asker, Json


@pytest.fixture(scope="module")
def asker() -> Iterator[Asker]:
    with Emulator(strict=True) as emulator:
        asker = Asker(emulator)
        with closing(asker.http):
            yield asker


def words(raw: str) -> str:
    """The provider's words, wherever its body has them."""
    body = json.loads(raw[raw.index("{") :])
    error = body.get("error", body.get("message"))
    found: str = error["message"] if isinstance(error, dict) else error
    return found


@pytest.mark.parametrize("stream", [False, True], ids=["unstreamed", "streamed"])
@pytest.mark.parametrize(
    ("rule", "model", "messages", "fields", "said", "provider"), WRONG, ids=[f"{w[0]}-{n}" for n, w in enumerate(WRONG)]
)
def test_a_wrong_history_is_refused(
    asker: Asker, rule: str, model: str, messages: list[Json], fields: Json, said: str, provider: str, stream: bool
) -> None:
    response = asker.post(model=model, messages=[ASKED, *messages], stream=stream, **fields)
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["message"]) == (400, 400, "Provider returned error")
    assert error["metadata"]["provider_name"] == provider
    assert said in words(error["metadata"]["raw"])


def test_every_rule_has_a_history_that_breaks_it() -> None:
    elsewhere = {"openai_items", "anthropic_only_thinking", "google_last"}
    assert {row[0] for row in (*WRONG, *BEGINNINGS)} == set(RULES) - elsewhere
    assert all(rule.source and rule.what for rule in (*RULES.values(), SILENCE))


@pytest.mark.parametrize(
    ("model", "messages", "fields", "said"),
    [row[1:] for row in BEGINNINGS],
    ids=[f"{b[0]}-{n}" for n, b in enumerate(BEGINNINGS)],
)
def test_a_wrong_beginning_is_refused(asker: Asker, model: str, messages: list[Json], fields: Json, said: str) -> None:
    error = asker.post(model=model, messages=messages, **fields).json()["error"]
    assert said in words(error["metadata"]["raw"])


def test_an_item_that_nobody_stored(asker: Asker) -> None:
    item = {"type": "reasoning.summary", "summary": "Hm.", "id": "rs_0a", "format": "openai-responses-v1", "index": 0}
    response = asker.post(model=GPT, messages=[ASKED, {**SAID, "reasoning_details": [item]}, ASKED])
    assert response.status_code == 404
    assert "Item with id 'rs_0a' not found." in words(response.json()["error"]["metadata"]["raw"])


@pytest.mark.parametrize(
    ("model", "refused"),
    [
        ("gemini-3-pro-preview", False),
        ("gemini-3.5-flash", False),
        ("gemini-3.5-flash-lite", True),
        ("gemini-3.6-flash", True),
    ],
)
def test_newer_geminis_take_no_final_assistant_message(model: str, refused: bool) -> None:
    known = Models().find("google/gemini-3-pro-preview")
    assert known is not None
    newer = replace(known, id=f"google/{model}")
    found = refusal(History({"messages": [ASKED, SAID], "model": newer.id}, newer, newer.hosts[0], "account"))
    assert ("ending with a model turn" in str(found and found.error)) is refused
    assert refusal(History({"messages": [ASKED], "model": newer.id}, newer, newer.hosts[0], "account")) is None


@pytest.mark.parametrize(("model", "messages", "fields"), RIGHT, ids=[f"{r[0]}-{n}" for n, r in enumerate(RIGHT)])
def test_a_right_history_is_answered(asker: Asker, model: str, messages: list[Json], fields: Json) -> None:
    message = asker.body(model=model, messages=[ASKED, *messages], **fields)["choices"][0]["message"]
    assert message["content"]


@pytest.mark.parametrize(
    "messages",
    [
        loop("call_1"),
        loop("functions.g:0"),
        [*loop("functions.f:0"), SAID, ASKED, *loop("functions.f:0")],
        loop("functions.f:1", "functions.f:0"),
    ],
)
def test_kimi_k2_goes_silent(asker: Asker, messages: list[Json]) -> None:
    choice = asker.body(model=KIMI, messages=[ASKED, *messages])["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "stop")
    assert not choice["message"].get("tool_calls")


@pytest.mark.parametrize("model", [CLAUDE, KIMI, GPT])
def test_without_strict_all_of_it_passes(model: str) -> None:
    with Emulator() as emulator, closing(Asker(emulator).http) as http:
        for messages in (loop("functions.f:0"), [EMPTY, ASKED], [{**SAID, "reasoning_details": [ENCRYPTED]}, ASKED]):
            body = {"model": model, "messages": [ASKED, *messages]}
            response = http.post("/chat/completions", json=body)
            assert response.json()["choices"][0]["message"]["content"]


def test_images_at_a_model_that_reads_none(asker: Asker) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aa"}}
    response = asker.post(model=MISTRAL, messages=[parts(text("What?"), image)])
    assert response.status_code == 200
    response = asker.post(model=KIMI, messages=[parts(text("What?"), image)])
    assert response.status_code == 404
    assert response.json()["error"]["message"] == "No endpoints found that support image input"


@pytest.mark.parametrize("kind", ["media", "input_text", "input_image", "thinking", "tool_use", None])
def test_content_blocks_of_other_apis(asker: Asker, kind: str | None) -> None:
    block = {"text": "x"} if kind is None else {"type": kind, "text": "x"}
    error = asker.post(messages=[parts(block)]).json()["error"]
    assert "messages[0].content[0].type" in error["message"]
