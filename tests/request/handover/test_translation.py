"""A conversation over several turns: the same ids each time, results with their calls, blocks of other APIs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from openrouter_fallback.request.handover import Form, History, restore_names, translated_params
from openrouter_fallback.request.handover.blocks import normal_message, unsendable
from openrouter_fallback.request.handover.ids import delivered_ids

from .histories import MODELS, Json, call, calling, encrypted, handed, result, sent, signed, user

CLAUDE, MISTRAL, KIMI, GPT = (
    "anthropic/claude-sonnet-4.5",
    "mistralai/mistral-large-2512",
    "moonshotai/kimi-k2-thinking",
    "openai/gpt-5.1",
)


def _ids(messages: Any) -> list[str]:
    return [one["id"] for message in messages for one in message.get("tool_calls") or ()]


# Turn after turn, by models that change: what each wrote, with the ids that it writes.
LONG = [
    user("One"),
    calling(call("functions.get_weather:0"), reasoning="Kimi thinks"),
    result("functions.get_weather:0"),
    calling(call("toolu_01A"), reasoning="Claude thinks", reasoning_details=[signed()]),
    result("toolu_01A"),
    {"role": "assistant", "content": "Sunny."},
    user("Two"),
    calling(call("functions.get_weather:0"), reasoning="Kimi again"),
    result("functions.get_weather:0"),
    calling(call("toolu_01B"), reasoning="Claude again", reasoning_details=[signed("Ha.")]),
    result("toolu_01B"),
]


@pytest.mark.parametrize("model", [CLAUDE, MISTRAL, KIMI, GPT])
def test_from_a_to_b_to_a_to_b(model: str) -> None:
    """Each turn's request begins with what the one before had sent: prompt caches and signatures hold."""
    before: list[Any] = []
    for length in (1, 3, 5, 7, 9, 11):
        now = sent(LONG[:length], model)
        assert now[: len(before)] == before
        before = now
    assert len(set(_ids(before))) == 4


def test_claude_gets_its_own_back_and_nothing_of_kimis() -> None:
    got = sent(LONG, CLAUDE)
    assert [message.get("reasoning") for message in got if message.get("tool_calls")] == [
        None,
        "Claude thinks",
        None,
        "Claude again",
    ]
    assert got[3]["reasoning_details"] == [signed()]
    assert got[9]["reasoning_details"] == [signed("Ha.")]


def test_kimi_counts_all_calls() -> None:
    assert _ids(sent(LONG, KIMI)) == [f"functions.get_weather:{n}" for n in range(4)]


def test_an_id_that_comes_again_is_another_call() -> None:
    first, _, second, _ = _ids(sent(LONG, GPT))
    assert first == "functions.get_weather:0"
    assert second.startswith("call_")
    answers = [message["tool_call_id"] for message in sent(LONG, GPT) if message["role"] == "tool"]
    assert answers == _ids(sent(LONG, GPT))


def test_a_trimmed_history() -> None:
    """What stands before is gone: a result without its call becomes the user's, and ids that follow stay unique."""
    got = sent(LONG[2:], MISTRAL)
    assert got[0] == {"role": "user", "content": "Result of an earlier tool call:\nsunny"}
    assert len(set(_ids(got))) == 3
    assert _ids(got)[0] == _ids(sent(LONG, MISTRAL))[1]


def test_a_second_process_sends_the_same_ids() -> None:
    code = f"from {__name__} import LONG, MISTRAL, _ids, sent\nprint(*_ids(sent(LONG, MISTRAL)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == _ids(sent(LONG, MISTRAL))


# Pairs


def test_two_calls_with_one_id_in_one_message() -> None:
    messages = [user(), calling(call("a", n=1), call("a", n=2)), result("a", "first"), result("a", "second")]
    got = sent(messages, GPT)
    one, two = _ids(got)
    assert [(m["tool_call_id"], m["content"]) for m in got[2:]] == [(one, "first"), (two, "second")]


def test_ids_that_are_missing_pair_by_order() -> None:
    messages = [user(), calling(call(None, n=1), call("", n=2)), result(None, "first"), result("", "second")]
    got = sent(messages, GPT)
    one, two = _ids(got)
    assert one != two
    assert [(m["tool_call_id"], m["content"]) for m in got[2:]] == [(one, "first"), (two, "second")]


def test_a_framework_gave_the_result_an_id_that_the_call_has_not() -> None:
    got = sent([user(), calling(call(None)), result("call_made_up")], GPT)
    assert got[2]["tool_call_id"] == _ids(got)[0]


def test_results_in_another_order_and_late_go_to_their_calls() -> None:
    messages = [user(), calling(call("a"), call("b")), result("b", "B"), user("Hurry"), result("a", "A")]
    got = sent(messages, GPT)
    assert [(m["role"], m["content"]) for m in got[1:]] == [
        ("assistant", None),
        ("tool", "A"),
        ("tool", "B"),
        ("user", "Hurry"),
    ]


def test_a_call_without_a_result_gets_one() -> None:
    got = sent([user(), calling(call("a")), user("Never mind")], GPT)
    assert got[2] == {"role": "tool", "tool_call_id": "a", "content": "(no result)"}


@pytest.mark.parametrize("model", [CLAUDE, MISTRAL, KIMI, GPT])
@pytest.mark.parametrize("left", [["abcdefghi"], ["abcdefghi", "ABCDEFGHI"]], ids=len)
def test_a_call_at_the_end_without_a_result_gets_one(model: str, left: list[str]) -> None:
    """A run that was cancelled, a page that was closed. Every provider refuses the history as it is."""
    turn = handed([user(), calling(*map(call, left))], model)
    assert [message["content"] for message in turn.messages[2:]] == ["(no result)"] * len(left)
    assert [message["tool_call_id"] for message in turn.messages[2:]] == _ids(turn.messages)
    assert turn.notes[-1] == "results of tool calls: there are none, and a note says so to the model"
    assert handed([user(), calling(call("abcdefghi")), result("abcdefghi")], CLAUDE).notes == ()


def test_calls_that_are_objects_of_an_sdk() -> None:
    class SdkCall:
        def model_dump(self, **_: object) -> Json:
            return call("call_1")

    calls: Any = [SdkCall()]
    messages = [user(), {"role": "assistant", "content": None, "tool_calls": calls}, result("call_1")]
    got = sent(messages, MISTRAL)
    assert got[2]["tool_call_id"] == _ids(got)[0] != "call_1"


# Older functions, and images in tool results


def test_functions_become_tools() -> None:
    messages = [
        user(),
        {"role": "assistant", "content": None, "function_call": {"name": "get_weather", "arguments": "{}"}},
        {"role": "function", "name": "get_weather", "content": "sunny"},
    ]
    _, called, answer = sent(messages, GPT)
    (one,) = called["tool_calls"]
    assert one["function"] == {"name": "get_weather", "arguments": "{}"}
    assert "function_call" not in called
    assert answer == {"role": "tool", "name": "get_weather", "content": "sunny", "tool_call_id": one["id"]}


SHOWN = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
TELLING = {"type": "text", "text": "sunny"}


def _pictured() -> list[Json]:
    one = {**result("abcdefghi"), "content": [TELLING, SHOWN]}
    two = {**result("ABCDEFGHI"), "content": [SHOWN]}
    return [user(), calling(call("abcdefghi"), call("ABCDEFGHI")), one, two]


@pytest.mark.parametrize("model", [GPT, MISTRAL])
@pytest.mark.parametrize("form", [Form.NORMAL, Form.STRICT])
def test_images_of_tool_results_go_to_the_user(model: str, form: Form) -> None:
    """Behind all results of the step; nothing is lost."""
    got = sent(_pictured(), model, form=form)
    assert [message["role"] for message in got[2:4]] == ["tool", "tool"]
    assert got[2]["content"] in ([TELLING], "sunny")
    assert got[3]["content"] == "(see below)"
    assert got[-1] == {
        "role": "user",
        "content": [{"type": "text", "text": "From the tool results above:"}, SHOWN, SHOWN],
    }
    between = ["assistant"] if model == MISTRAL or form is Form.STRICT else []
    assert [message["role"] for message in got[4:-1]] == between


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("form", [Form.NORMAL, Form.STRICT])
def test_images_of_instructions_go_to_the_user(model: str, role: str, form: Form) -> None:
    """No provider reads them in a system message."""
    first: Json = {"role": role, "content": [TELLING, SHOWN]}
    got = sent([first, {"role": role, "content": [SHOWN]}, user("Which?")], model, form=form)
    front = [message for message in got if message["role"] in ("system", "developer")]
    assert "image_url" not in str(front)
    assert "sunny" in str(front)
    shown = got[len(front)]
    assert shown["role"] == "user"
    assert shown["content"][:3] == [{"type": "text", "text": "From the instructions above:"}, SHOWN, SHOWN]
    assert "Which?" in str(got[len(front) :])


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("form", [Form.NORMAL, Form.STRICT])
def test_images_of_answers_go_to_the_user(model: str, form: Form) -> None:
    """Behind the results of the same step; an image that a model has made stands in a content list."""
    drawn = {**calling(call("abcdefghi")), "content": [TELLING, SHOWN]}
    got = sent([user("Draw."), drawn, result("abcdefghi", "done"), user("Which?")], model, form=form)
    roles = [message["role"] for message in got]
    assert roles[:3] == ["user", "assistant", "tool"]
    assert "image_url" not in str(got[1])
    assert "sunny" in str(got[1])
    shown = next(message for message in got[3:] if message["role"] == "user")
    assert shown["content"][:2] == [{"type": "text", "text": "From the answers above:"}, SHOWN]
    assert "Which?" in str(got[3:])


@pytest.mark.parametrize("blank", ["", "\n", [{"type": "text", "text": " "}]])
def test_a_drawing_joined_with_calls_has_no_empty_text(blank: Any) -> None:
    drawn: Json = {"role": "assistant", "content": blank, "images": [SHOWN]}
    got = sent([user(), drawn, calling(call("abcdefghi")), result("abcdefghi")], MISTRAL)
    assert got[1] == {**calling(call("abcdefghi")), "images": [SHOWN]}


def test_drawings_that_an_endpoint_has_no_place_for_are_noted() -> None:
    messages = [user(), {"role": "assistant", "content": "Here.", "images": [SHOWN]}, user("Why?")]
    assert handed(messages, GPT).notes == ()
    elsewhere = handed(messages, GPT, on_openrouter=False)
    assert elsewhere.messages[1] == {"role": "assistant", "content": "Here."}
    assert elsewhere.notes == ("images of answers: only OpenRouter has a place for them",)


@pytest.mark.parametrize("content", [None, "", "I would rather not."])
def test_a_refusal_is_text_at_endpoints_that_do_not_know_the_key(content: str | None) -> None:
    """It is OpenAI's; Mistral's and Groq's servers refuse keys that they do not know."""
    messages = [user(), {"role": "assistant", "content": content, "refusal": "No."}, user("Why?")]
    got = sent(messages, MISTRAL, on_openrouter=False)[1]
    assert got == {"role": "assistant", "content": content or "No."}
    assert sent(messages, MISTRAL)[1]["refusal"] == "No."


def test_the_strictest_form_has_no_key_that_an_endpoint_may_not_know() -> None:
    """What other programs note in a message: Groq (OmniRoute#11026) and Mistral (litellm#30882) refuse it."""
    noted = {"role": "assistant", "content": "Sunny.", "metadata": {"trimmed": True}, "messageId": "1", "index": 0}
    messages = [user(), noted, user("Why?")]
    for model in MODELS:
        assert sent(messages, model)[1].items() >= noted.items()
        for elsewhere in (False, True):
            got = sent(messages, model, form=Form.STRICT, on_openrouter=not elsewhere)[1]
            assert got.keys() <= {"role", "content", "reasoning", "reasoning_content"}


@pytest.mark.parametrize(
    "nothing",
    [
        {"tool_calls": []},
        {"tool_calls": None},
        {"tool_calls": [], "function_call": None, "refusal": None, "audio": None, "annotations": None},
    ],
)
def test_keys_that_say_nothing_are_not_sent(nothing: Json) -> None:
    """The openai SDK writes them into a message's `model_dump`."""
    messages = [user(), {"role": "assistant", "content": "Sunny.", **nothing}, user("And now?")]
    for model in MODELS:
        assert sent(messages, model)[1].keys() <= {"role", "content", "reasoning"}


def test_images_of_tool_results_stay_where_they_are_read() -> None:
    messages = _pictured()
    assert handed(messages, CLAUDE).messages is messages


# Delivered ids


def test_an_answers_id_is_delivered_as_the_model_wrote_it() -> None:
    assert delivered_ids([user()], [call("functions.get_weather:0")]) == ["functions.get_weather:0"]


def test_an_id_that_stands_in_the_history_is_delivered_anew() -> None:
    (id,) = delivered_ids(LONG, [call("functions.get_weather:0")])
    assert id.startswith("call_")
    assert len(id) == 29
    assert delivered_ids(LONG, [call("functions.get_weather:0")]) == [id]


def test_missing_ids_and_repeated_ones_within_an_answer() -> None:
    ids = delivered_ids([user()], [call(None), call(None), call("a"), call("a"), "nonsense"])
    assert len(set(ids)) == 5
    assert ids[2] == "a"


# Form and prefix


def test_a_form_learnt_later_leaves_out_what_was_signed_before() -> None:
    """The signature may bind what stands before it, which the strictest form changes."""
    got = sent(LONG, CLAUDE, form=Form.STRICT)
    assert not any(message.get("reasoning_details") or message.get("reasoning") for message in got)
    assert handed(LONG, CLAUDE, form=Form.STRICT, thinking=True).without_reasoning


@pytest.mark.parametrize("form", [Form.TOLD, Form.SINGLE])
def test_calls_in_another_form_leave_out_what_was_signed_behind_them(form: Form) -> None:
    """Claude's signatures bind all that stands before them; where no call changes, they stay."""
    thought = {"role": "assistant", "content": "Sunny.", "reasoning_details": [signed()]}
    calls = [calling(call("a"), call("b")), result("a"), result("b")]
    (*_, last, _) = sent([user(), *calls, thought, user("So?")], CLAUDE, form=form)
    assert last == {"role": "assistant", "content": "Sunny."}
    messages = [user(), thought, user("So?")]
    assert handed(messages, CLAUDE, form=form).messages is messages


def test_names_come_back() -> None:
    tool = {"type": "function", "function": {"name": "mcp.server/tool", "parameters": {}}}
    params: Json = {"tools": [tool], "tool_choice": {"type": "function", "function": {"name": "mcp.server/tool"}}}
    functions = handed([user(), calling(call("a", "mcp.server/tool")), result("a")], GPT).functions
    got = translated_params(params, functions)
    (name,) = functions.values()
    assert got["tools"][0]["function"]["name"] == got["tool_choice"]["function"]["name"] == name
    assert params["tools"] == [tool]
    message: Json = {"tool_calls": [call("b", name)]}
    restore_names(message, {written: given for given, written in functions.items()})
    assert message["tool_calls"][0]["function"]["name"] == "mcp.server/tool"
    assert translated_params(params, {}) is params
    some: Json = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [params["tool_choice"]]}}
    chosen = translated_params({"tools": [tool], "tool_choice": some}, functions)["tool_choice"]
    assert chosen["allowed_tools"] == {"mode": "auto", "tools": [got["tool_choice"]]}


# Blocks of other APIs

PNG = "data:image/png;base64,aWJt"
BLOCKS: list[tuple[str, Any, Json]] = [
    ("a string", "Hi", {"type": "text", "text": "Hi"}),
    ("untyped", {"text": "Hi"}, {"type": "text", "text": "Hi"}),
    ("Responses: text", {"type": "input_text", "text": "Hi"}, {"type": "text", "text": "Hi"}),
    (
        "Responses: image",
        {"type": "input_image", "image_url": PNG, "detail": "low"},
        {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
    ),
    (
        "Responses: file",
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aWJt"},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aWJt"}},
    ),
    (
        "Anthropic: image",
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aWJt"}},
        {"type": "image_url", "image_url": {"url": PNG}},
    ),
    (
        "Anthropic: image with a mark",
        {"type": "image", "source": {"type": "url", "url": "https://a/b"}, "cache_control": {"type": "ephemeral"}},
        {"type": "image_url", "image_url": {"url": "https://a/b"}, "cache_control": {"type": "ephemeral"}},
    ),
    (
        "Anthropic: document",
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "aWJt"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,aWJt"}},
    ),
    (
        "Google: media",
        {"type": "media", "mime_type": "image/png", "data": "aWJt"},
        {"type": "image_url", "image_url": {"url": PNG}},
    ),
    (
        "Google: sound",
        {"type": "media", "mime_type": "audio/x-wav", "data": "aWJt"},
        {"type": "input_audio", "input_audio": {"data": "aWJt", "format": "wav"}},
    ),
    (
        "Google: video by its place",
        {"type": "media", "mime_type": "video/mp4", "file_uri": "https://a/b"},
        {"type": "video_url", "video_url": {"url": "https://a/b"}},
    ),
    (
        "Google: inline data",
        {"inlineData": {"mimeType": "image/png", "data": "aWJt"}},
        {"type": "image_url", "image_url": {"url": PNG}},
    ),
]


@pytest.mark.parametrize(("what", "block", "written"), BLOCKS, ids=[row[0] for row in BLOCKS])
def test_a_block_of_another_api(what: str, block: Any, written: Json) -> None:
    assert normal_message({"role": "user", "content": [block]})["content"] == [written]
    same = {"role": "user", "content": [written]}
    assert normal_message(same) is same


def test_a_block_of_an_unknown_type_is_passed_on() -> None:
    message = {"role": "user", "content": [{"type": "hologram", "data": 1}]}
    assert normal_message(message) is message
    assert unsendable([message]) == ""


def test_a_block_that_has_no_counterpart_is_named() -> None:
    message = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "sunny"}]}
    assert "messages[1].content[0] is a block of type 'tool_result'" in unsendable([user(), message])


def test_an_assistants_blocks_of_anthropics_form() -> None:
    content = [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Rome"}},
    ]
    assert normal_message({"role": "assistant", "content": content}) == {
        "role": "assistant",
        "content": [{"type": "text", "text": "Let me see."}],
        "tool_calls": [call("toolu_1", city="Rome")],
        "reasoning_details": [
            {"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", "format": "anthropic-claude-v1"}
        ],
    }


@pytest.mark.parametrize(
    ("block", "detail"),
    [
        (
            {"type": "reasoning_content", "reasoning_content": {"text": "Hm.", "signature": "c2ln"}},
            {"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", "format": "anthropic-claude-v1"},
        ),
        (
            {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}, {"type": "text", "text": "Yes."}]},
            {"type": "reasoning.text", "text": "Hm.\nYes."},
        ),
    ],
    ids=["Bedrock's", "Mistral's"],
)
def test_a_nested_thinking_block(block: Json, detail: Json) -> None:
    found = normal_message({"role": "assistant", "content": [block, {"type": "text", "text": "Hi"}]})
    assert (found["reasoning_details"], found["content"]) == ([detail], [{"type": "text", "text": "Hi"}])


def test_the_name_of_the_writer_is_never_sent() -> None:
    messages = [user(), {"role": "assistant", "content": "Hi", "model": CLAUDE}]
    history = History(messages)
    assert history.writers == {1: CLAUDE}
    assert sent(messages, CLAUDE)[1] == {"role": "assistant", "content": "Hi"}


def test_details_of_another_region_go_to_the_same_model() -> None:
    """OpenAI's encrypted reasoning may be bound to a region: what a refusal then asks for is the strictest form."""
    azure = encrypted("azure-openai-responses-v1")
    messages = [user(), calling(call("a"), reasoning_details=[azure]), result("a")]
    assert sent(messages, GPT)[1]["reasoning_details"] == [azure]
    assert "reasoning_details" not in sent(messages, GPT, form=Form.STRICT)[1]
