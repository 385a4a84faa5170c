"""What the pretended model answers, asked over HTTP."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx2
import pytest

from openrouter_fallback.answer.seam import ContinuationMode
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.emulator.answers.completion import PREFACE
from openrouter_fallback.request.continuation import continued

from ..helpers import MODEL, Asker, join, request

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "unit": {"type": "string", "enum": ["celsius", "kelvin"]},
                "note": {"type": "string"},
            },
            "required": ["city", "days", "unit"],
        },
    },
}
TIME = {"type": "function", "function": {"name": "get_time"}}


def content(body: dict[str, Any]) -> Any:
    return body["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"n": 3},
        {"max_tokens": 4},
        {"reasoning": {"enabled": True}},
        {"reasoning": {"effort": "high"}, "max_tokens": 6},
        {"reasoning": {"enabled": True, "exclude": True}},
        {"logprobs": True, "top_logprobs": 1},
        {"stop": ["answers"]},
        {"response_format": {"type": "json_object"}},
        {"tools": [WEATHER, TIME]},
        {"tools": [WEATHER, TIME], "max_tokens": 2},
    ],
    ids=str,
)
def test_streamed_and_unstreamed_say_the_same(ask: Asker, fields: dict[str, Any]) -> None:
    prompt = 'Call get_weather for "Oslo", 3 days, and get_time'
    body = ask.body(prompt, **fields)
    joined = join(ask.chunks(prompt, **fields))
    assert joined["usage"] == body["usage"]
    for whole, found in zip(body["choices"], joined["choices"], strict=True):
        for key in ("content", "reasoning", "refusal"):
            assert found["message"][key] == (whole["message"][key] or "")
        assert found["message"]["reasoning_details"] == whole["message"].get("reasoning_details", [])
        assert list(found["message"]["tool_calls"].values()) == whole["message"].get("tool_calls", [])
        assert found["finish_reason"] == whole["finish_reason"]
        assert found["logprobs"] == (whole["logprobs"] or {}).get("content", [])


def test_an_answer_names_its_model_and_repeats_itself(ask: Asker) -> None:
    first, second = ask.body("Why?"), ask.body("Why?")
    assert content(first).startswith(f"{MODEL} answers: ")
    assert content(first) == content(second) != content(ask.body("Why not?"))
    assert first["id"] != second["id"]
    assert first["provider"] == "OpenAI"
    assert first["usage"]["completion_tokens"] == 20
    assert ask.post().headers["x-generation-id"].startswith("gen-")


def test_limits(ask: Asker) -> None:
    short = ask.body(max_tokens=5)
    assert short["choices"][0]["finish_reason"] == "length"
    assert short["choices"][0]["native_finish_reason"] == "max_output_tokens"
    assert short["usage"]["completion_tokens"] == 5
    assert content(ask.body(stop=" answers")) == MODEL


def test_json(ask: Asker) -> None:
    for prompt, asked in [("As JSON.", {"answer"}), ("A joke as JSON with 'setup' and \"point\".", {"setup", "point"})]:
        assert json.loads(content(ask.body(prompt, response_format={"type": "json_object"}))).keys() == asked
    schema = {
        "type": "object",
        "$defs": {"Kind": {"enum": ["b", "a"]}},
        "properties": {
            "kind": {"$ref": "#/$defs/Kind"},
            "size": {"type": "integer", "minimum": 10},
            "ratio": {"type": ["null", "number"]},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
            "sure": {"type": "boolean"},
            "left_out": {"type": "string"},
        },
        "required": ["kind", "size", "ratio", "tags", "sure"],
    }
    answer = content(
        ask.body(
            "It is 2.5 of 'x y'",
            response_format={"type": "json_schema", "json_schema": {"name": "it", "schema": schema}},
        )
    )
    assert json.loads(answer) == {"kind": "b", "size": 10, "ratio": 2.5, "tags": ["x y", "x y"], "sure": True}


@pytest.mark.parametrize(
    ("prompt", "fields", "called"),
    [
        ("get_weather please", {}, ["get_weather"]),
        ("get_time, then get_weather", {}, ["get_weather", "get_time"]),
        ("get_time, then get_weather", {"parallel_tool_calls": False}, ["get_weather"]),
        ("nothing of the kind", {}, []),
        ("forget_weather", {}, []),
        ("What is the weather in Oslo?", {}, ["get_weather"]),
        ("Get it", {}, []),
        ("Which time is it?", {"tool_choice": "required"}, ["get_time"]),
        ("get_weather please", {"tool_choice": "none"}, []),
        ("whatever", {"tool_choice": "required"}, ["get_weather"]),
        ("whatever", {"tool_choice": {"type": "function", "function": {"name": "get_time"}}}, ["get_time"]),
    ],
)
def test_tools(ask: Asker, prompt: str, fields: dict[str, Any], called: list[str]) -> None:
    choice = ask.body(prompt, tools=[WEATHER, TIME], **fields)["choices"][0]
    calls = choice["message"].get("tool_calls", [])
    assert [call["function"]["name"] for call in calls] == called
    assert choice["finish_reason"] == ("tool_calls" if called else "stop")
    assert bool(choice["message"]["content"]) is not bool(called)


def test_arguments_come_from_the_prompt(ask: Asker) -> None:
    calls = ask.body('get_weather for "Oslo", 3 days; get_time', tools=[WEATHER, TIME])["choices"][0]["message"]
    arguments = [json.loads(call["function"]["arguments"]) for call in calls["tool_calls"]]
    assert arguments == [{"city": "Oslo", "days": 3, "unit": "celsius"}, {}]


@pytest.mark.parametrize(("choice", "called"), [("auto", []), ("required", ["get_time"])])
def test_after_a_tools_result(ask: Asker, choice: str, called: list[str]) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "get_weather"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "rain"},
    ]
    body = ask.body(messages=messages, tools=[WEATHER, TIME], tool_choice=choice)
    calls = body["choices"][0]["message"].get("tool_calls", [])
    assert [call["function"]["name"] for call in calls] == called


def test_a_text_that_is_gone_on_from_holds_no_call(ask: Asker) -> None:
    messages = [{"role": "user", "content": "get_weather"}, {"role": "assistant", "content": "It is"}]
    message = ask.body(messages=messages, tools=[WEATHER, TIME])["choices"][0]["message"]
    assert (message["content"] != "", message.get("tool_calls")) == (True, None)


def test_reasoning_comes_before_content(ask: Asker) -> None:
    chunks = ask.chunks(reasoning={"enabled": True}, model="anthropic/claude-sonnet-4.5")
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    spoken = ["reasoning" if d.get("reasoning") else "content" for d in deltas if d.get("reasoning") or d["content"]]
    assert spoken == sorted(spoken, reverse=True)
    assert {"reasoning", "content"} == set(spoken)
    details = join(chunks)["choices"][0]["message"]["reasoning_details"]
    assert details[0]["format"] == "anthropic-claude-v1"
    assert details[0]["signature"]
    tokens = chunks[-1]["usage"]["completion_tokens_details"]["reasoning_tokens"]
    assert tokens == spoken.count("reasoning")


def test_prices(ask: Asker) -> None:
    usage = ask.body()["usage"]
    assert usage["cost"] == pytest.approx(usage["prompt_tokens"] * 1.25e-6 + usage["completion_tokens"] * 10e-6)
    assert ask.body(model="any/model:free")["usage"]["cost"] == 0.0


def test_scripted_replies(emulator: Emulator, ask: Asker) -> None:
    emulator.reply(tokens=100)
    emulator.reply("Fixed.", model=MODEL, reasoning="Hm.", finish_reason="length", served_as="openai/gpt-5.1-0815")
    assert ask.body(model="a/b")["usage"]["completion_tokens"] == 100
    body = ask.body()
    assert (content(body), body["choices"][0]["message"]["reasoning"]) == ("Fixed.", "Hm.")
    assert (body["choices"][0]["finish_reason"], body["model"]) == ("length", "openai/gpt-5.1-0815")
    emulator.reply(
        tool_calls=[{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": '{"broken'}], model=MODEL
    )
    calls = ask.body()["choices"][0]["message"]["tool_calls"]
    assert [call["function"]["arguments"] for call in calls] == ['{"a":1}', '{"broken']
    extras: dict[str, Any] = {
        "images": [{"type": "image_url", "image_url": {"url": "data:,"}}],
        "annotations": [{"type": "url_citation", "url_citation": {"url": "https://example.com"}}],
        "refusal": "I will not.",
    }
    emulator.reply(model=MODEL, usage={"cost": 1.5}, **extras)
    body = ask.body()
    assert extras.items() <= body["choices"][0]["message"].items()
    assert body["usage"]["cost"] == 1.5
    emulator.clear_replies()
    assert content(ask.body()).startswith(MODEL)


@pytest.mark.parametrize("stream", [False, True])
def test_images_in_answers(ask: Asker, stream: bool) -> None:
    fields: dict[str, Any] = {"model": "google/gemini-2.5-flash-image", "modalities": ["image", "text"]}
    body = join(ask.chunks(**fields)) if stream else ask.body(**fields)
    message = body["choices"][0]["message"]
    assert message["content"]
    assert message["images"][0]["image_url"]["url"].startswith("data:image/png;base64,")
    usage = body["usage"]
    assert usage["completion_tokens_details"]["image_tokens"] == 1290
    words = usage["completion_tokens"] - 1290
    prompt = usage["prompt_tokens"] * 0.3e-6
    assert usage["cost"] == pytest.approx(prompt + words * 2.5e-6 + 1290 * 30e-6, abs=1e-12)


def test_speech_in_answers(ask: Asker) -> None:
    audio = ask.body(modalities=["text", "audio"])["choices"][0]["message"]["audio"]
    assert base64.b64decode(audio["data"]).decode() == audio["transcript"]


@pytest.mark.parametrize(
    "fields",
    [
        {"plugins": [{"id": "web"}]},
        {"model": f"{MODEL}:online"},
        {"model": "perplexity/sonar"},
        {"tools": [{"type": "openrouter:web_search"}]},
    ],
    ids=str,
)
def test_sources_of_the_web(ask: Asker, fields: dict[str, Any]) -> None:
    body = ask.body(**fields)
    (annotation,) = body["choices"][0]["message"]["annotations"]
    assert annotation["url_citation"]["url"] == "https://example.com/source"
    assert body["usage"]["server_tool_use_details"] == {"web_search_requests": 1}
    assert body["usage"]["cost"] > 0.01
    assert join(ask.chunks(**fields))["choices"][0]["message"]["annotations"] == [annotation]


def test_no_web_unless_asked(ask: Asker) -> None:
    body = ask.body(plugins=[{"id": "web", "enabled": False}])
    assert "annotations" not in body["choices"][0]["message"]
    assert "server_tool_use_details" not in body["usage"]


@pytest.mark.parametrize("fields", [{"include_reasoning": False}, {"reasoning": {"exclude": True}}], ids=str)
def test_reasoning_that_is_withheld_is_paid_all_the_same(ask: Asker, fields: dict[str, Any]) -> None:
    body = ask.body(model="openai/o4-mini", **fields)
    assert body["choices"][0]["message"]["reasoning"] is None
    assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0


def test_an_unfinished_answer_is_continued(emulator: Emulator, ask: Asker) -> None:
    whole = content(ask.body("Why?"))
    said = whole[: len(whole) // 2]
    messages = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": said + " "}]
    rest = content(ask.body(messages=messages, model="deepseek/deepseek-chat"))
    assert said.rstrip() + rest == whole
    emulator.reply(prefill="restart")
    assert content(ask.body(messages=messages)) == whole
    emulator.reply(prefill="overlap")
    assert content(ask.body(messages=messages)) == said.rstrip()[-30:] + rest
    emulator.reply(prefill="preface")
    assert content(ask.body(messages=messages)) == f"Sure, here is the rest:\n\n{rest}"
    emulator.reply(prefill="refuse")
    refused = ask.post(messages=messages)
    assert refused.status_code == 400
    assert "prefill" in refused.json()["error"]["metadata"]["raw"]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("instruct", "begins"),
    [("continue", ""), ("restart", "One two three"), ("overlap", "One two three"), ("preface", PREFACE)],
)
def test_an_unfinished_answer_is_continued_by_instruction(
    emulator: Emulator, ask: Asker, instruct: str, begins: str, streamed: bool
) -> None:
    emulator.reply("One two three four five six.", prefill="refuse", instruct=instruct)
    messages = continued([{"role": "user", "content": "Count"}], "One two three ", ContinuationMode.INSTRUCT)
    said = join(ask.chunks(messages=messages)) if streamed else ask.body(messages=messages)
    assert content(said) == begins + " four five six."


def test_a_users_own_words_after_an_answer_are_no_instruction(emulator: Emulator, ask: Asker) -> None:
    emulator.reply("One two three four.", instruct="continue")
    said = [{"role": "assistant", "content": "One two"}, {"role": "user", "content": "Once more."}]
    assert content(ask.body(messages=said)) == "One two three four."


@pytest.mark.parametrize("knob", [{"prefill": "mumble"}, {"instruct": "refuse"}])
def test_unknown_ways_to_go_on(emulator: Emulator, knob: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="is one of"):
        emulator.reply(**knob)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"messages": []}, 'Input required: specify "prompt" or "messages"'),
        ({"messages": "hello"}, 'Input required: specify "prompt" or "messages"'),
        ({"max_tokens": "5"}, "Invalid input: expected int at max_tokens"),
        ({"tools": {}}, "Invalid input: expected list at tools"),
        ({"model": ""}, "No models provided"),
    ],
)
def test_bad_requests(ask: Asker, fields: dict[str, Any], message: str) -> None:
    response = ask.post(**fields)
    assert response.status_code == 400
    assert response.json() == {"error": {"code": 400, "message": message}}


def test_malformed_json(ask: Asker) -> None:
    assert ask.http.post("/chat/completions", content=b'{"model":').status_code == 400


@pytest.mark.parametrize(
    ("header", "message"),
    [("", "No auth credentials found"), ("Bearer", "No auth credentials found"), ("Bearer x", "User not found.")],
)
@pytest.mark.parametrize("path", ["/chat/completions", "/key"])
def test_keys(emulator: Emulator, header: str, message: str, path: str) -> None:
    method = "POST" if path.startswith("/chat") else "GET"
    headers = {"Authorization": header} if header else {}
    response = httpx2.request(method, emulator.base_url + path, json=request(), headers=headers)
    assert response.status_code == 401
    assert response.json() == {"error": {"code": 401, "message": message}}


def test_only_the_models_given_are_known() -> None:
    with Emulator(models=["local-model"]) as emulator:
        ask = Asker(emulator)
        assert ask.body(model="local-model")["model"] == "local-model"
        assert ask.post(model=MODEL).json()["error"]["message"] == f"{MODEL} is not a valid model ID"
        assert [entry["id"] for entry in ask.http.get("/models").json()["data"]] == ["local-model"]
        ask.http.close()


def test_the_other_pages(ask: Asker) -> None:
    entry = ask.http.get("/models").json()["data"][0]
    assert entry["id"] == "anthropic/claude-sonnet-4.5"
    assert (entry["pricing"]["prompt"], entry["pricing"]["completion"]) == ("0.000003", "0.000015")
    assert ask.http.get("/key").json()["data"]["is_free_tier"] is False
    assert ask.http.get("/nowhere").json() == {"error": {"code": 404, "message": "Not Found"}}


def test_routing_detail_on_request(ask: Asker) -> None:
    ask.http.headers["X-OpenRouter-Metadata"] = "enabled"
    assert ask.body()["openrouter_metadata"]["requested"] == MODEL
    assert ask.chunks()[-1]["openrouter_metadata"]["requested"] == MODEL


@pytest.mark.parametrize(("choice", "called"), [("auto", []), ("required", ["get_time"])])
def test_a_text_after_a_tools_result_is_gone_on_from(ask: Asker, choice: str, called: list[str]) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "get_weather"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "rain"},
        {"role": "assistant", "content": f"{MODEL} answers:"},
    ]
    message = ask.body(messages=messages, tools=[WEATHER, TIME], tool_choice=choice)["choices"][0]["message"]
    assert [one["function"]["name"] for one in message.get("tool_calls", [])] == called
