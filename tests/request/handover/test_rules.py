"""The table: which row a model has, and what each row does to a history. Its sources stand in the table."""

from __future__ import annotations

import re
from typing import Any

import pytest

from openrouter_fallback.failures.kinds import Failure, FailureKind
from openrouter_fallback.request.handover import (
    RULES,
    Family,
    Form,
    History,
    family_of,
    needs_strict,
    rule_for,
    same_model,
    translate,
    translated_params,
    with_tool_marks,
)

from .histories import MODELS, Json, call, calling, encrypted, handed, result, sent, signed, target, user

CLAUDE, GPT, GEMINI, MISTRAL = (
    "anthropic/claude-sonnet-4.5",
    "openai/gpt-5.1",
    "google/gemini-3-pro-preview",
    "mistralai/mistral-large-2512",
)
KIMI, KIMI_3, DEEPSEEK = "moonshotai/kimi-k2-thinking", "moonshotai/kimi-k3", "deepseek/deepseek-v4"
LOOP = [user(), calling(call("functions.get_weather:0")), result("functions.get_weather:0")]


def test_each_row_names_its_sources() -> None:
    for rule in RULES:
        assert rule.sources, rule.family
        assert all(len(source) > 10 for source in rule.sources)


def test_each_family_has_a_row_for_any_model() -> None:
    assert {rule.family for rule in RULES if not rule.models} == set(Family)


FAMILIES: list[tuple[str, str | None, str, Family]] = [
    ("anthropic/claude-sonnet-4.5", None, "", Family.ANTHROPIC),
    ("~anthropic/claude-latest", None, "", Family.ANTHROPIC),
    ("mistralai/devstral-small", None, "", Family.MISTRAL),
    ("meta-llama/llama-4-maverick", None, "", Family.META),
    ("deepseek/deepseek-r1-distill-llama-70b", None, "", Family.DEEPSEEK),
    ("openrouter/sherlock", "x-ai/grok-4.1-fast", "", Family.XAI),
    ("llama-3.3-70b-versatile", None, "api.groq.com", Family.META),
    ("openai/gpt-oss-120b", None, "api.groq.com", Family.OPENAI),
    ("nousresearch/hermes-4-llama-70b", None, "", Family.META),
    ("nvidia/mistral-nemo-instruct", None, "", Family.MISTRAL),
    ("o4-mini", None, "api.openai.com", Family.OPENAI),
    ("ft:whatever", None, "api.openai.com", Family.OPENAI),
    ("my-own-model", None, "localhost", Family.OTHER),
    ("z-ai/glm-4.6", None, "", Family.OTHER),
]


@pytest.mark.parametrize(("model", "slug", "host", "family"), FAMILIES, ids=[row[0] for row in FAMILIES])
def test_the_family_comes_from_the_id_the_catalog_or_the_endpoint(
    model: str, slug: str | None, host: str, family: Family
) -> None:
    assert family_of(model, slug, host) is family


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("anthropic/claude-sonnet-4.5", "anthropic/claude-4.5-sonnet-20250929", True),
        ("openai/gpt-5.1", "openai/gpt-5.1-2025-11-13", True),
        ("groq:llama-3.3-70b-versatile", "llama-3.3-70b-versatile", True),
        ("google/gemini-3-pro-preview:free", "google/gemini-3-pro-preview", True),
        ("anthropic/claude-sonnet-4.5", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", True),
        ("anthropic/claude-sonnet-4.5", "claude-sonnet-4-5@20250929", True),
        ("anthropic/claude-3.7-sonnet:thinking", "claude-3-7-sonnet-latest", True),
        ("moonshotai/kimi-k2-thinking", "kimi-k2-thinking-251104", True),
        ("anthropic/claude-sonnet-4", "claude-sonnet-4-0", True),
        ("anthropic/claude-opus-4", "claude-opus-4-20250514", True),
        ("anthropic/claude-sonnet-4.5", "claude-sonnet-4-0", False),
        ("deepseek/deepseek-v3.2", "deepseek-v3", False),
        ("openai/gpt-5.1", "openai/gpt-5.1-mini", False),
        ("anthropic/claude-sonnet-4.5", "anthropic/claude-opus-4.5", False),
    ],
)
def test_an_answer_names_its_model_in_other_words(one: str, other: str, same: bool) -> None:
    assert same_model(one, other) is same


IDS: list[tuple[str, str, str]] = [
    (CLAUDE, "functions.get_weather:0", r"[a-zA-Z0-9_-]{1,64}"),
    (CLAUDE, "x" * 65, r"[a-zA-Z0-9_-]{1,64}"),
    (MISTRAL, "call_1", r"[a-zA-Z0-9]{9}"),
    (MISTRAL, "toolu_01ABCDEFGHIJ", r"[a-zA-Z0-9]{9}"),
    (GPT, "x" * 41, r"call_[a-zA-Z0-9]{24}"),
    (GPT, "", r"call_[a-zA-Z0-9]{24}"),
    (KIMI, "toolu_01A", r"functions\.get_weather:0"),
    ("z-ai/glm-4.6", "functions.get_weather:0", r"[a-zA-Z0-9_-]{1,40}"),
]


@pytest.mark.parametrize(("model", "id", "form"), IDS, ids=[f"{row[0]} {row[1][:20]}" for row in IDS])
def test_an_id_gets_the_form_of_the_target(model: str, id: str, form: str) -> None:
    _, calls, answer = sent([user(), calling(call(id)), result(id)], model)
    written = calls["tool_calls"][0]["id"]
    assert re.fullmatch(form, written)
    assert answer["tool_call_id"] == written


@pytest.mark.parametrize(
    ("model", "id"),
    [
        (CLAUDE, "toolu_01A"),
        (CLAUDE, "call_1"),
        (GPT, "functions.get_weather:0"),
        (GPT, "x" * 40),
        (MISTRAL, "abcDEF123"),
        (KIMI, "functions.get_weather:0"),
        (KIMI_3, "get_weather_0"),
    ],
)
def test_where_the_rule_holds_nothing_is_touched(model: str, id: str) -> None:
    messages = [user(), calling(call(id), reasoning="Hm."), result(id)]
    if model not in (KIMI, KIMI_3):
        del messages[1]["reasoning"]
    assert handed(messages, model).messages is messages


# Reasoning

OWN_CLAUDE = calling(call("toolu_1"), reasoning="Hm.", reasoning_details=[signed()])
REASONING: list[tuple[str, str, Json, Json]] = [
    ("Claude's own", CLAUDE, OWN_CLAUDE, {"reasoning": "Hm.", "reasoning_details": [signed()]}),
    ("Claude's at GPT", GPT, OWN_CLAUDE, {}),
    ("Claude's at Kimi", KIMI, OWN_CLAUDE, {"reasoning": "Hm."}),
    (
        "only Claude's details at DeepSeek",
        DEEPSEEK,
        calling(call("a"), reasoning_details=[signed("So.")]),
        {"reasoning": "So."},
    ),
    ("nothing at Kimi", KIMI, calling(call("a")), {"reasoning": "(not recorded)"}),
    ("nothing at Kimi K3", KIMI_3, calling(call("a")), {"reasoning": "(not recorded)"}),
    ("nothing at Kimi that does not think", "moonshotai/kimi-k2-0905", calling(call("a")), {}),
    ("plain at Claude", CLAUDE, calling(call("a"), reasoning="Hm."), {}),
    ("plain at Mistral", MISTRAL, calling(call("a"), reasoning="Hm."), {}),
    (
        "plain at Mistral, as OpenRouter's details",
        MISTRAL,
        calling(
            call("abcdefghi"),
            reasoning="Hm.",
            reasoning_details=[{"type": "reasoning.text", "text": "Hm.", "format": "unknown", "index": 0}],
        ),
        {},
    ),
    ("plain at R1", "deepseek/deepseek-r1", calling(call("a"), reasoning="Hm."), {}),
    ("plain at Grok", "x-ai/grok-4.1-fast", calling(call("a"), reasoning="Hm."), {"reasoning": "Hm."}),
    (
        "Kimi's at Grok, known by its writer",
        "x-ai/grok-4.1-fast",
        calling(call("a"), reasoning="Hm.", model="moonshotai/kimi-k3"),
        {},
    ),
    (
        "another Claude's, known by its writer",
        CLAUDE,
        {**OWN_CLAUDE, "model": "anthropic/claude-4.5-opus-20251101"},
        {},
    ),
    (
        "its own, known by its writer",
        CLAUDE,
        {**OWN_CLAUDE, "model": "anthropic/claude-4.5-sonnet-20250929"},
        {"reasoning": "Hm.", "reasoning_details": [signed()]},
    ),
    (
        "the id of a response that is not stored",
        GPT,
        calling(call("a"), reasoning_details=[encrypted("openai-responses-v1", id="rs_1")]),
        {"reasoning_details": [encrypted("openai-responses-v1")]},
    ),
    (
        "fragments, as ChatOpenRouter leaves them",
        CLAUDE,
        calling(
            call("a"),
            reasoning_details=[
                {"type": "reasoning.text", "text": "H", "format": "anthropic-claude-v1", "index": 0.0},
                {"type": "reasoning.text", "text": "m.", "format": "anthropic-claude-v1", "index": 0.0},
                {"type": "reasoning.text", "signature": "c2ln", "format": "anthropic-claude-v1", "index": 0.0},
            ],
        ),
        {"reasoning_details": [signed()]},
    ),
    (
        "fragments whose names were merged",
        CLAUDE,
        calling(call("a"), reasoning_details=[{**signed(), "format": "anthropic-claude-v1" * 2}]),
        {"reasoning_details": [signed()]},
    ),
    (
        "an entry with an empty format is nobody's",
        "x-ai/grok-4.1-fast",
        calling(call("a"), reasoning_details=[{"type": "reasoning.text", "text": "Hm.", "format": ""}]),
        {"reasoning_details": [{"type": "reasoning.text", "text": "Hm.", "format": ""}]},
    ),
    (
        "Claude's without a signature",
        CLAUDE,
        calling(call("a"), reasoning_details=[{**signed(), "signature": None}]),
        {},
    ),
]


@pytest.mark.parametrize(("what", "model", "message", "reasoning"), REASONING, ids=[row[0] for row in REASONING])
def test_reasoning_goes_where_it_may(what: str, model: str, message: Json, reasoning: Json) -> None:
    id = message["tool_calls"][0]["id"]
    got = sent([user(), message, result(id)], model)[1]
    assert {key: value for key, value in got.items() if key.startswith("reasoning")} == reasoning


@pytest.mark.parametrize("empty", [{"reasoning_details": []}, {}], ids=["beside an empty list", "beside none"])
def test_what_must_change_in_one_message_of_a_loop_is_seen(empty: Json) -> None:
    def loop(one: Json, other: Json) -> list[Json]:
        called = (calling(call("toolu_1"), **one), result("toolu_1"), calling(call("toolu_2"), **other))
        return [user(), *called, result("toolu_2")]

    own = {"reasoning_details": [signed()], "reasoning": "Hm."}
    claudes = loop(own, {**empty, "reasoning": "Hm."})
    assert sent(claudes, CLAUDE)[1] == claudes[1]
    assert "reasoning" not in sent(claudes, CLAUDE)[3]

    part: Json = {"type": "reasoning.summary", "format": "openai-responses-v1", "index": 0}
    gpts = loop(empty, {"reasoning_details": [{**part, "summary": "H"}, {**part, "summary": "m."}]})
    assert sent(gpts, "openai/gpt-oss-120b")[3]["reasoning_details"] == [{**part, "summary": "Hm."}]


def test_reasoning_that_is_left_out_is_noted() -> None:
    messages = [user(), {**OWN_CLAUDE}, result("toolu_1")]
    assert handed(messages, GPT).notes == ("signed reasoning of another model",)
    assert handed(messages, CLAUDE).notes == ()


# Gemini

STAND_IN = {
    "type": "reasoning.encrypted",
    "data": "skip_thought_signature_validator",
    "format": "google-gemini-v1",
    "index": 0,
}


def test_gemini_gets_a_stand_in_on_the_first_call_of_each_step() -> None:
    messages = [
        user(),
        calling(call("a"), call("b")),
        result("a"),
        result("b"),
        calling(call("c")),
        result("c"),
    ]
    got = sent(messages, GEMINI)
    assert got[1]["reasoning_details"] == [{**STAND_IN, "id": "a"}]
    assert got[4]["reasoning_details"] == [{**STAND_IN, "id": "c"}]
    assert "reasoning_details" not in got[2]


def test_geminis_own_signature_stays_and_follows_its_call() -> None:
    own = encrypted("google-gemini-v1", id="a b" * 30)
    messages = [user(), calling(call("a b" * 30), reasoning_details=[own]), result("a b" * 30)]
    (detail,) = sent(messages, GEMINI)[1]["reasoning_details"]
    assert detail == {**own, "id": sent(messages, GEMINI)[1]["tool_calls"][0]["id"]}


@pytest.mark.parametrize(
    ("ids", "named", "kept"),
    [
        (("a", "a"), "a", True),
        (("", ""), "", True),
        ((None, None), None, True),
        (("a b", "a b"), "a b", True),
        (("a", "b"), "b", False),
        (("a",), "gone", False),
    ],
)
def test_a_signature_that_is_not_the_first_calls_does_not_stand_for_it(
    ids: tuple[str | None, ...], named: str | None, kept: bool
) -> None:
    """Of parallel calls with one id the first is signed; an entry of a later call leaves the first one bare."""
    own = encrypted("google-gemini-v1", id=named)
    messages = [user(), calling(*map(call, ids), reasoning_details=[own]), *map(result, ids)]
    got = sent(messages, GEMINI)[1]
    first = got["tool_calls"][0]["id"]
    signing = [one["data"] for one in got["reasoning_details"] if one["id"] in (None, first)]
    assert signing == ([own["data"]] if kept else [STAND_IN["data"]])
    assert len(got["reasoning_details"]) == (1 if kept else 2)


def test_other_geminis_need_none() -> None:
    messages = [user(), calling(call("a")), result("a")]
    assert handed(messages, "google/gemini-2.5-flash").messages is messages
    got = sent(messages, GEMINI, on_openrouter=False)[1]
    assert "reasoning_details" not in got
    google = got["tool_calls"][0]["extra_content"]["google"]
    assert google == {"thought_signature": "skip_thought_signature_validator"}


# Claude, thinking


@pytest.mark.parametrize(
    ("what", "messages", "without"),
    [
        ("a loop of its own", [user(), OWN_CLAUDE, result("toolu_1")], False),
        ("a loop of Kimi's", LOOP, True),
        ("a loop of Kimi's, over", [*LOOP, {"role": "assistant", "content": "Sunny."}, user("And now?")], False),
        ("no loop", [user()], False),
        (
            "its own loop, gone on without thinking",
            [user(), OWN_CLAUDE, result("toolu_1"), calling(call("toolu_2")), result("toolu_2")],
            False,
        ),
        (
            "its own loop, gone on by Kimi",
            [user(), OWN_CLAUDE, result("toolu_1"), calling(call("toolu_2"), model=KIMI), result("toolu_2")],
            True,
        ),
        ("a word of the user in a loop of Kimi's", [*LOOP, user("Hurry!")], True),
        ("a word of the user in its own loop", [user(), OWN_CLAUDE, result("toolu_1"), user("Hurry!")], False),
        ("an instruction in a loop of Kimi's", [*LOOP, {"role": "system", "content": "Hurry!"}], True),
        ("a call of Kimi's without a result", [*LOOP[:2], user("Well?")], True),
    ],
)
def test_claude_does_not_think_behind_anothers_loop(what: str, messages: list[Json], without: bool) -> None:
    assert handed(messages, CLAUDE, thinking=True).without_reasoning is without
    assert handed(messages, CLAUDE).without_reasoning is False
    assert handed(messages, GPT, thinking=True).without_reasoning is False


# Names


def test_names_of_functions_are_translated_everywhere() -> None:
    found = handed([user(), calling(call("a", "mcp.server/tool")), {**result("a"), "name": "mcp.server/tool"}], GPT)
    (name,) = found.functions.values()
    assert re.fullmatch(r"mcp_server_tool_[0-9a-f]{8}", name)
    assert found.messages[1]["tool_calls"][0]["function"]["name"] == name
    assert found.messages[2]["name"] == name


@pytest.mark.parametrize("name", ["", None])
@pytest.mark.parametrize("model", MODELS)
def test_a_call_without_a_name_gets_one(model: str, name: str | None) -> None:
    """A stream that broke off has left it, and all providers refuse it."""
    one = call("abcdefghi")
    broken = {**one, "function": {**one["function"], "name": name}}
    found = handed([user(), calling(broken), result("abcdefghi"), user("Well?")], model)
    (written,) = {call["function"]["name"] for m in found.messages for call in m.get("tool_calls") or ()}
    assert written == "unnamed_e3b0c442"
    tools = {"tools": [{"type": "openrouter:web_search"}], "tool_choice": {"type": "any"}}
    assert translated_params(tools, found.functions) is tools


def test_a_name_at_google_begins_with_a_letter() -> None:
    (name,) = handed([user(), calling(call("a", "1st"))], GEMINI).functions.values()
    assert name.startswith("_1st_")


def test_kimis_ids_have_the_translated_name() -> None:
    got = sent([user(), calling(call("a", "mcp.tool")), result("a")], KIMI)
    name = got[1]["tool_calls"][0]["function"]["name"]
    assert got[1]["tool_calls"][0]["id"] == f"functions.{name}:0"


@pytest.mark.parametrize(
    ("name", "written"), [("Research Agent", "Research_Agent"), ("a<b|c\\d/e", "a_b_c_d_e"), ("x" * 70, "x" * 64)]
)
def test_the_name_of_a_message(name: str, written: str) -> None:
    assert sent([{**user(), "name": name}], GPT)[0]["name"] == written
    assert "name" not in sent([{**user(), "name": name}], GPT, form=Form.STRICT)[0]


# Contents, roles, marks


@pytest.mark.parametrize("model", [model for model in MODELS if not model.startswith("openai/gpt-5")])
def test_an_empty_content_is_filled(model: str) -> None:
    messages = [user(""), calling(call("abcdefghi")), result("abcdefghi", " "), {"role": "assistant", "content": ""}]
    got = sent([*messages, user("Well?")], model)
    assert [message["content"] for message in got] == ["(empty)", None, "(empty)", "(empty)", "Well?"]


@pytest.mark.parametrize("nothing", [None, []])
@pytest.mark.parametrize("role", ["user", "system", "tool", "assistant"])
@pytest.mark.parametrize("model", MODELS)
def test_no_content_is_a_text(model: str, role: str, nothing: Any) -> None:
    """A tool of the caller has returned nothing, an answer held nothing but reasoning."""
    empty = {"role": role, "content": nothing, **({"tool_call_id": "abcdefghi"} if role == "tool" else {})}
    got = sent([user(), calling(call("abcdefghi")), *([] if role == "tool" else [result("abcdefghi")]), empty], model)
    assert all(isinstance(message["content"], str) for message in got if not message.get("tool_calls"))
    assert role != "assistant" or got[-1]["role"] == "tool"  # an end that says nothing is left out


def test_openai_takes_empty_contents() -> None:
    messages = [user(""), {"role": "assistant", "content": ""}, user("Well?")]
    assert handed(messages, GPT).messages is messages


def test_mistral_gets_roles_in_turn() -> None:
    messages = [user("One"), user("Two"), calling(call("abcdefghi")), result("abcdefghi"), user("Three")]
    assert [(message["role"], message["content"]) for message in sent(messages, MISTRAL)] == [
        ("user", "One\n\nTwo"),
        ("assistant", None),
        ("tool", "sunny"),
        ("assistant", "(continued)"),
        ("user", "Three"),
    ]
    assert handed(messages, GPT).messages is messages


SYSTEM: Json = {"role": "system", "content": "Be brief."}
BEGINNINGS: list[tuple[str, list[Json]]] = [
    ("a greeting", [{"role": "assistant", "content": "Hello!"}, user()]),
    ("a beginning that was cut off", [calling(call("abcdefghi")), result("abcdefghi"), user()]),
    ("a loop that was cut off", [calling(call("abcdefghi")), result("abcdefghi")]),
    ("instructions only", []),
]


@pytest.mark.parametrize("front", [[], [SYSTEM]], ids=["alone", "behind a system message"])
@pytest.mark.parametrize("messages", [row[1] for row in BEGINNINGS], ids=[row[0] for row in BEGINNINGS])
@pytest.mark.parametrize("model", MODELS)
def test_the_user_begins_where_it_must(model: str, messages: list[Json], front: list[Json]) -> None:
    messages = [*front, *messages]
    if not messages:
        return
    got = sent(messages, model)
    if rule_for(model).opens:
        assert got[: len(front) + 1] == [*front, {"role": "user", "content": "(begin)"}]
        assert [m["role"] for m in got].count("user") == [m["role"] for m in messages].count("user") + 1
    else:
        assert len(got) == len(messages)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('{"city": "Be', '{"arguments": "{\\"city\\": \\"Be"}'),
        ("", "{}"),
        ("null", "{}"),
        (None, "{}"),
        ("[1]", '{"arguments": [1]}'),
        ({"city": "Bern"}, '{"city": "Bern"}'),
        (' {"city": "Bern"}', ' {"city": "Bern"}'),
    ],
)
@pytest.mark.parametrize("model", MODELS)
def test_arguments_are_an_object(model: str, written: Any, read: str) -> None:
    one = call("abcdefghi")
    broken = {**one, "function": {**one["function"], "arguments": written}}
    got = sent([user(), calling(broken), result("abcdefghi")], model)
    if rule_for(model).objects:
        assert got[1]["tool_calls"][0]["function"] == {**one["function"], "arguments": read}
    else:
        assert got[1]["tool_calls"][0]["function"]["arguments"] == (written if isinstance(written, str) else read)


@pytest.mark.parametrize("model", MODELS)
def test_a_call_has_a_type(model: str) -> None:
    typed = call("abcdefghi")
    untyped = {key: value for key, value in typed.items() if key != "type"}  # as some local servers write it
    got = sent([user(), calling(untyped), result("abcdefghi")], model)
    assert (got[1]["tool_calls"][0]["type"], got[1]["tool_calls"][0]["function"]) == ("function", typed["function"])


def test_arguments_that_only_look_like_an_object_are_mended_in_the_strictest_form() -> None:
    one = call("abcdefghi")
    broken = {**one, "function": {**one["function"], "arguments": '{"city": }'}}
    got = sent([user(), calling(broken), result("abcdefghi")], CLAUDE, form=Form.STRICT)
    assert got[1]["tool_calls"][0]["function"]["arguments"] == '{"arguments": "{\\"city\\": }"}'


def test_a_system_message_in_the_middle_keeps_its_place() -> None:
    messages = [{"role": "system", "content": "Be brief."}, user("One"), {"role": "system", "content": "Be kind."}]
    assert sent(messages, CLAUDE)[2] == {"role": "user", "content": "<system>\nBe kind.\n</system>"}
    assert handed(messages, GPT).messages is messages


def test_qwen_takes_one_system_message() -> None:
    messages = [{"role": "system", "content": "One"}, {"role": "developer", "content": "Two"}, user()]
    assert sent(messages, "qwen/qwen3.6-27b")[0] == {"role": "system", "content": "One\n\nTwo"}
    assert handed(messages, GPT).messages is messages


def test_cache_marks_go_where_they_mean_something() -> None:
    marked = [{"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]}]
    assert sent(marked, CLAUDE) == marked
    assert sent(marked, GPT)[0]["content"] == [{"type": "text", "text": "Hi"}]


@pytest.mark.parametrize("model", [GEMINI, "openai/gpt-5.6"])
def test_only_openrouter_converts_marks_for_some_families(model: str) -> None:
    assert handed([marked("user")], model).notes == ()
    assert sent([marked("user")], model) == [marked("user")]
    plain = {"role": "user", "content": [{"type": "text", "text": "Hi"}]}
    assert sent([marked("user")], model, on_openrouter=False) == [plain]


def marked(role: str, times: int = 1) -> Json:
    return {"role": role, "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}] * times}


_SYSTEM, _USER, _SAID = marked("system"), marked("user"), {"role": "assistant", "content": "Hello."}
# What is marked, tools and request too; the positions of messages that are sent with a mark; how many tools keep one.
MARKS: list[tuple[str, list[Json], tuple[int, bool], list[int], int | None]] = [
    ("four", [_SYSTEM, _USER, _SAID, _USER, _SAID, _USER], (0, False), [0, 1, 3, 5], None),
    ("five", [_SYSTEM, _USER, _SAID, _USER, _SAID, _USER, _SAID, _USER], (0, False), [0, 3, 5, 7], 0),
    ("two of the system", [_SYSTEM, _SYSTEM, _USER, _SAID, _USER, _SAID, _USER], (0, False), [1, 2, 4, 6], 0),
    ("a tool", [_SYSTEM, _USER, _SAID, _USER, _SAID, _USER], (1, False), [0, 3, 5], 1),
    ("the request", [_SYSTEM, _USER, _SAID, _USER, _SAID, _USER], (0, True), [0, 3, 5], 0),
    ("tools only", [user()], (9, False), [], 4),
    ("tools and a message", [_USER], (9, True), [0], 2),
    ("tools that are few enough", [_USER], (2, True), [0], None),
    ("blocks of one message", [marked("user", 6)], (0, False), [0], 0),
    ("no system", [_USER, _SAID, _USER, _SAID, _USER, _SAID, _USER, _SAID, _USER], (0, False), [2, 4, 6, 8], 0),
]


@pytest.mark.parametrize("model", [CLAUDE, "qwen/qwen3-max"])
@pytest.mark.parametrize(("what", "messages", "beside", "kept", "tools"), MARKS, ids=[row[0] for row in MARKS])
def test_no_more_marks_than_the_provider_takes(
    model: str, what: str, messages: list[Json], beside: tuple[int, bool], kept: list[int], tools: int | None
) -> None:
    if model != CLAUDE and what == "two of the system":
        return  # its system messages become one
    found = translate(History(messages), target(model), frozenset(), beside)
    marks = [n for n, m in _listed(found.messages) for block in m["content"] if "cache_control" in block]
    assert marks == (kept * 4 if what == "blocks of one message" else kept)
    assert found.tool_marks == tools
    assert found.messages is messages or found.tool_marks is not None
    again = translate(History(found.messages), target(model), frozenset(), beside)
    assert again.messages == found.messages


def _listed(messages: Any) -> list[tuple[int, Json]]:
    return [(n, message) for n, message in enumerate(messages) if isinstance(message["content"], list)]


def test_marks_of_tools_too() -> None:
    tool = {"type": "function", "function": {"name": "f"}, "cache_control": {"type": "ephemeral"}}
    inner = {"type": "function", "function": {"name": "g", "cache_control": {"type": "ephemeral"}}}
    params: Json = {"tools": [tool, inner], "temperature": 0}
    plain = [{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "g"}}]
    assert with_tool_marks(params, 0) == {"tools": plain, "temperature": 0}
    assert with_tool_marks(params, 1) == {"tools": [plain[0], inner], "temperature": 0}
    assert with_tool_marks(params, 2) is params
    assert with_tool_marks({"tools": plain}, 0)["tools"] is plain
    assert handed([user()], CLAUDE).tool_marks is None
    assert handed([user()], GPT).tool_marks == 0


def test_a_refusal_and_speech_are_text_to_others() -> None:
    refused = {"role": "assistant", "content": None, "refusal": "I would rather not."}
    spoken = {"role": "assistant", "content": None, "audio": {"id": "speech_1", "transcript": "Sunny."}}
    assert sent([user(), refused, user()], CLAUDE)[1]["content"] == "I would rather not."
    assert sent([user(), spoken, user()], CLAUDE)[1] == {"role": "assistant", "content": "Sunny."}
    messages = [user(), refused, user(), spoken, user()]
    assert handed(messages, GPT).messages is messages


@pytest.mark.parametrize("content", ["Dear ", [{"type": "text", "text": "Dear\n"}]], ids=["text", "a block"])
def test_a_prefill_of_claude_ends_without_white_space(content: Any) -> None:
    messages = [user(), {"role": "assistant", "content": content}]
    (*_, last) = sent(messages, CLAUDE)
    assert last["content"] in ("Dear", [{"type": "text", "text": "Dear"}])
    assert handed(messages, GPT).messages is messages


# Model -> whether it continues a final assistant message.
PREFILLS = {
    "anthropic/claude-sonnet-4.5": True,
    "anthropic/claude-opus-4-20250514": True,
    "anthropic/claude-3.7-sonnet": True,
    "claude-3-5-sonnet-latest": True,
    "anthropic/claude-haiku-4.5": True,
    "anthropic/claude-sonnet-4.6": False,
    "anthropic/claude-4.6-opus-20260204": False,
    "us.anthropic.claude-opus-4-6-v1": False,
    "claude-opus-4-8": False,
    "anthropic/claude-sonnet-5": False,
    "~anthropic/claude-opus-latest": False,
    "google/gemini-2.5-pro": True,
    "google/gemini-3-pro-preview": True,
    "google/gemini-3.1-pro-preview": True,
    "google/gemini-3.5-flash": True,
    "google/gemini-3.5-flash-lite": False,
    "google/gemini-3.6-flash": False,
    "mistralai/mistral-large-2512": False,
    "deepseek/deepseek-r1-0528": False,
    "deepseek/deepseek-v3.2": True,
    "cohere/command-a": False,
    "perplexity/sonar": False,
    "openai/gpt-5.1": True,
    "my-own-model": True,
}


@pytest.mark.parametrize(("model", "takes"), PREFILLS.items(), ids=list(PREFILLS))
def test_a_final_assistant_message_is_continued_by_instruction_where_it_is_refused(model: str, takes: bool) -> None:
    assert rule_for(model).prefills is takes
    messages: list[Json] = [user(), {"role": "assistant", "content": "Dear"}]
    found = handed(messages, model)
    if takes:
        assert found.messages is messages or model.startswith("anthropic")
        assert [message["role"] for message in sent(messages, model, form=Form.STRICT)][-1] == "user"
    else:
        assert [message["role"] for message in found.messages] == ["user", "assistant", "user"]
        assert "Continue it exactly where it stops" in found.messages[-1]["content"]
        assert found.notes
        assert sent(sent(messages, model), model) == found.messages
    assert sent(messages, model, prefills=True)[-1]["role"] == "assistant"  # the user says so


def test_claude_is_not_asked_to_think_where_it_continues_a_text() -> None:
    messages: list[Json] = [user(), {"role": "assistant", "content": "Dear"}]
    assert handed(messages, CLAUDE, thinking=True).without_reasoning
    assert not handed(messages, CLAUDE).without_reasoning
    own = {"role": "assistant", "content": "Dear", "reasoning_details": [signed()]}
    assert not handed([user(), own], CLAUDE, thinking=True).without_reasoning
    assert not handed(messages, "anthropic/claude-opus-4.6", thinking=True).without_reasoning


def test_parallel_calls_go_one_by_one_where_one_is_read() -> None:
    llama = "meta-llama/llama-3.3-70b-instruct"
    both = calling(call("aaaaaaaaa"), call("bbbbbbbbb"), content="Both.")
    messages = [user(), both, result("bbbbbbbbb", "rain"), result("aaaaaaaaa"), user("So?")]
    assert sent(messages, llama, form=Form.SINGLE)[:-1] == [
        user(),
        {**calling(call("aaaaaaaaa")), "content": "Both."},
        result("aaaaaaaaa"),
        calling(call("bbbbbbbbb")),
        result("bbbbbbbbb", "rain"),
    ]
    assert sent(messages, llama)[1] == both
    thought = calling(*both["tool_calls"], reasoning="Hm.", reasoning_details=[signed()])
    at_claude = sent([user(), thought, *messages[2:]], CLAUDE, form=Form.SINGLE)
    assert [sorted(m.keys() & {"reasoning", "reasoning_details"}) for m in at_claude if "tool_calls" in m] == [
        ["reasoning", "reasoning_details"],
        [],
    ]
    at_gemini = sent(messages, GEMINI, form=Form.SINGLE)
    assert [m["reasoning_details"][0]["id"] for m in at_gemini if "tool_calls" in m] == ["aaaaaaaaa", "bbbbbbbbb"]


@pytest.mark.parametrize("model", ["anthropic/claude-opus-4.6", "mistralai/mistral-large-2512", "cohere/command-a"])
def test_an_empty_end_is_left_out_where_no_assistant_message_may_be_last(model: str) -> None:
    empty: Json = {"role": "assistant", "content": ""}
    assert sent([user(), {"role": "assistant", "content": "Hi."}, user(), empty], model)[-1] == user()
    assert [message["role"] for message in sent([empty], model)] == ["user"]


def test_without_tools_calls_are_told_where_they_are_read_only_beside_tools() -> None:
    messages = [user(), calling(call("a", city="Bern"), content="Let me see."), result("a"), user("So?")]
    assert sent(messages, CLAUDE, form=Form.TOLD)[1:3] == [
        {"role": "assistant", "content": 'Let me see.\n[call a: get_weather({"city": "Bern"})]'},
        {"role": "user", "content": "[result of call a:] sunny"},
    ]
    with_tools = translate(History(messages), target(CLAUDE, form=Form.TOLD), frozenset({"get_weather"}))
    assert with_tools.messages is messages


# The strictest form

REFUSALS: list[tuple[str, Form | None]] = [
    ("Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9.", Form.STRICT),
    ("messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'", Form.STRICT),
    ("Invalid 'messages[2].tool_calls[0].id': string too long.", Form.STRICT),
    ("Invalid 'messages[1].name': string does not match pattern.", Form.STRICT),
    ("Unexpected role 'user' after role 'tool'", Form.STRICT),
    ("System message must be at the beginning.", Form.STRICT),
    ("This model only supports single tool-calls at once!", Form.SINGLE),
    ("Multiple tool calls are not supported.", Form.SINGLE),
    ("The toolConfig field must be defined when using toolUse and toolResult content blocks.", Form.TOLD),
    ("Requests which include `tool_use` or `tool_result` blocks must define tools.", Form.TOLD),
    ("messages.1.content.0: Invalid `signature` in `thinking` block", Form.UNSIGNED),
    ("The encrypted content gAAA could not be verified.", Form.UNSIGNED),
    ("Function call is missing a thought_signature in functionCall parts.", Form.UNSIGNED),
    ("'messages.2' : property 'reasoning_content' is unsupported", Form.STRICT),
    ("messages: text content blocks must be non-empty", Form.STRICT),
    ("Invalid JSON in the arguments of a tool call of the history: expected an object", Form.STRICT),
    # Ollama (cline#363), servers of vLLM, MiniMax (opencode#32609), GLM (lobehub#11408, opencode#2557)
    ("json: cannot unmarshal array into Go struct field ChatRequest.messages.content of type string", Form.STRICT),
    ("[{'type': 'string_type', 'loc': ('body', 'messages', 1, 'content'), 'msg': 'should be a string'}]", Form.STRICT),
    ("invalid params, tool call result does not follow tool call (2013)", Form.STRICT),
    ("invalid params, tool call and result not match (2013)", Form.STRICT),
    ("messages 参数非法。请检查文档。", Form.STRICT),
    ("The messages parameter is illegal. Please check the documentation.", Form.STRICT),
    ("Can only get item pairs from a mapping.", Form.STRICT),
    ("thinking is enabled but reasoning_content is missing in assistant tool call message", Form.REASONED),
    ("The `reasoning_content` in the thinking mode must be passed back to the API.", Form.REASONED),
    ("Missing `reasoning_content` field in the assistant message at message index 2.", Form.REASONED),
    ("temperature must be between 0 and 2", None),
    ("max_tokens is too large", None),
    ("The model does not exist", None),
]


@pytest.mark.parametrize(("message", "form"), REFUSALS, ids=[row[0][:40] for row in REFUSALS])
def test_a_refusal_of_the_form_asks_for_the_strictest(message: str, form: Form | None) -> None:
    assert needs_strict(Failure(FailureKind.REJECTED, message, status=400)) is form
    assert needs_strict(Failure(FailureKind.INVALID_REQUEST, message, status=422)) is form
    assert needs_strict(Failure(FailureKind.REJECTED, message, status=403)) is None
    assert needs_strict(Failure(FailureKind.UNAVAILABLE, message, status=400)) is None


def test_without_what_cannot_be_verified_all_else_stays() -> None:
    messages = [user(), OWN_CLAUDE, result("toolu_1")]
    found = handed(messages, CLAUDE, form=Form.UNSIGNED, thinking=True)
    assert list(found.messages) == [user(), calling(call("toolu_1")), result("toolu_1")]
    assert found.without_reasoning
    open_thoughts = calling(call("a"), reasoning="Hm.")
    assert handed([user(), open_thoughts, result("a")], DEEPSEEK, form=Form.UNSIGNED).messages[1] is open_thoughts
    (detail,) = sent(messages, GEMINI, form=Form.UNSIGNED)[1]["reasoning_details"]
    assert detail["data"] == "skip_thought_signature_validator"


@pytest.mark.parametrize("model", MODELS)
def test_the_strictest_form(model: str) -> None:
    messages: list[Any] = [
        {**user(), "name": "Ann"},
        calling(call("call_1"), reasoning="Hm.", reasoning_details=[encrypted("openai-responses-v1"), signed()]),
        {**result("call_1"), "content": [{"type": "text", "text": "sunny", "cache_control": {"type": "ephemeral"}}]},
    ]
    found = handed(messages, model, form=Form.STRICT)
    got = list(found.messages)
    id = got[1]["tool_calls"][0]["id"]
    assert re.fullmatch(r"functions\.get_weather:0" if rule_for(model).ids.counted else r"[a-zA-Z0-9]{9}", id)
    assert "name" not in got[0]
    assert "reasoning" not in got[1]
    assert [detail["data"] for detail in got[1].get("reasoning_details", ())] in (
        [],
        ["skip_thought_signature_validator"],
    )
    assert got[2] == {"role": "tool", "tool_call_id": id, "content": "sunny"}
    assert list(handed(messages, model, form=Form.REASONED).messages)[1]["reasoning"] == "Hm."
