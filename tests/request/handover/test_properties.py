"""What holds for any history and any target."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from unittest.mock import patch

from hypothesis import example, given, settings
from hypothesis import strategies as st

from openrouter_fallback.request.handover import History, Target, translate
from openrouter_fallback.request.handover.ids import delivered_ids

from .histories import HISTORIES, TARGETS, Json

_MANY = settings(max_examples=400, deadline=None)


def _ids(messages: Any) -> list[str]:
    return [call["id"] for message in messages for call in message.get("tool_calls") or ()]


@_MANY
@given(HISTORIES, TARGETS)
def test_translating_what_was_translated_changes_nothing(messages: list[Json], target: Target) -> None:
    once = translate(History(messages), target)
    again = translate(History(list(once.messages)), target)
    assert list(again.messages) == list(once.messages)
    assert again.without_reasoning == once.without_reasoning


@_MANY
@given(HISTORIES, TARGETS)
def test_a_history_that_needs_no_look_at_each_message_is_not_changed_by_one(
    messages: list[Json], target: Target
) -> None:
    """The quick look at all messages finds each rule that the long way applies."""
    quick = translate(History(messages), target)
    with patch("openrouter_fallback.request.handover.translate._stays", return_value=False):
        slow = translate(History(messages), target)
    assert list(quick.messages) == list(slow.messages)
    assert quick.without_reasoning == slow.without_reasoning


READ = (
    *(
        "keys",
        "roles",
        "speakers",
        "names",
        "callers",
        "voids",
        "odd",
        "lists",
        "marks",
        "pictured",
        "illustrated",
        "tidy",
    ),
    *("thoughts", "writers", "last_caller", "opening", "widest"),
)


def found(history: History) -> dict[str, Any]:
    """What a reading has found, by name."""
    return {name: getattr(history, name) for name in READ} | {"ids": list(history.ids)}


def _reads_alike(history: Sequence[Mapping[str, Any]]) -> None:
    quick = History(history)
    with patch.object(History, "_read", return_value=None):
        thorough = History(history)
    assert found(quick) == found(thorough)


@_MANY
@given(HISTORIES, TARGETS)
def test_the_quick_reading_of_a_loop_finds_what_the_thorough_one_finds(messages: list[Json], target: Target) -> None:
    for history in (messages, list(translate(History(messages), target).messages)):
        _reads_alike(history)


_TEXTS = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(("user", "assistant", "system", "developer", "tool", "function")),
            "content": st.sampled_from(("Hello", "", " \n", None, [{"type": "text", "text": "Hi"}], b"x")),
        },
        optional={"name": st.just("Ada")},
    )
    | st.fixed_dictionaries({"role": st.just("assistant"), "refusal": st.just("No")}),
    min_size=1,
    max_size=4,
)


@_MANY
@given(_TEXTS)
@example([{"role": "user", "content": " "}, {"role": "user", "content": [{"type": "media", "data": "aWJt"}]}])
def test_the_quick_reading_of_texts_finds_what_the_thorough_one_finds(messages: list[Json]) -> None:
    _reads_alike(messages)


@_MANY
@given(HISTORIES, TARGETS)
def test_what_the_caller_holds_stays_as_it_is(messages: list[Json], target: Target) -> None:
    before = copy.deepcopy(messages)
    handed = translate(History(messages), target)
    assert messages == before
    for message in handed.messages:
        assert "model" not in message


@_MANY
@given(HISTORIES, TARGETS)
def test_calls_and_results_stay_paired(messages: list[Json], target: Target) -> None:
    """Each call has an id of its own; what answers it stands directly behind it and names it."""
    handed = list(translate(History(messages), target).messages)
    ids = _ids(handed)
    assert all(ids)
    assert max(Counter(ids).values(), default=1) == 1
    expected: list[str] = []
    for message in handed:
        if message["role"] == "tool":
            assert message["tool_call_id"] == expected.pop(0)
        else:
            assert not expected
            expected = [call["id"] for call in message.get("tool_calls") or ()]


@_MANY
@given(HISTORIES, TARGETS)
def test_no_result_and_no_text_of_the_user_is_lost(messages: list[Json], target: Target) -> None:
    history = History(messages)
    handed = translate(history, target)
    said = "\n".join(str(message.get("content")) for message in handed.messages)
    for message in messages:
        if message["role"] in ("user", "tool", "function", "system", "developer"):
            content = message["content"]
            parts = [content] if isinstance(content, str) else content or ()
            for part in parts:
                text = part.get("text") if isinstance(part, dict) else part
                if isinstance(text, str) and text.strip():
                    assert repr(text)[1:-1] in said or text in said


@_MANY
@given(HISTORIES, TARGETS)
def test_a_second_process_sends_the_same(messages: list[Json], target: Target) -> None:
    one = translate(History(copy.deepcopy(messages)), target)
    assert list(translate(History(messages), target).messages) == list(one.messages)


@_MANY
@given(HISTORIES, TARGETS)
def test_what_stood_there_before_keeps_its_ids(messages: list[Json], target: Target) -> None:
    """Ids of a history are those of its beginning: a turn later the same calls have the same ids."""
    earlier = messages[: len(messages) // 2 + 1]
    if any(message["role"] == "tool" for message in messages[len(earlier) :]):
        return
    ids = _ids(translate(History(earlier), target).messages)
    assert _ids(translate(History(messages), target).messages)[: len(ids)] == ids


@_MANY
@given(HISTORIES, HISTORIES)
def test_delivered_ids_are_new(messages: list[Json], others: list[Json]) -> None:
    calls = [call for message in others for call in message.get("tool_calls") or ()]
    ids = delivered_ids(messages, calls)
    assert len(set(ids)) == len(calls)
    known = set(_ids(messages))
    assert known.isdisjoint(ids)
    assert delivered_ids(messages, calls) == ids
    for call, id in zip(calls, ids, strict=True):
        free = call["id"] and call["id"] not in known
        assert not free or id == call["id"] or call["id"] in ids
