"""The translation: a history and a target in, a history out.

A pure, idempotent function. The caller's objects are never changed; messages without changes are not copied.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from ...routes.model_families import Family
from ..continuation import INSTRUCTION
from . import turns
from .arguments import with_arguments
from .blocks import plain_text
from .forms import Form, Target
from .history import REASONED, SYSTEM, History, Message, calls_of, name_of
from .ids import holds, orphan_id, wire_ids
from .marks import count_marks, fewer_marks, without_marks
from .names import changed_names, message_name
from .reasoning import is_other, owns_signed, reasoning_stays, with_reasoning
from .rules import Reasoning

_NOT_ELSEWHERE: Final = frozenset({"annotations", "images", "refusal"})
# The strictest form has no other keys: Groq and Mistral refuse what another program notes in a message
# (OmniRoute#11026, litellm#30882).
_KNOWN: Final = REASONED | _NOT_ELSEWHERE | {"audio", "content", "prefix", "role", "tool_call_id", "tool_calls"}
_SPEECH: Final = "audio"
_TOOL: Final = frozenset({"tool"})
_ASSISTANT: Final = frozenset({"assistant"})
_RARE: Final = _NOT_ELSEWHERE | {_SPEECH, "name"}
_NO_NAMES: Final[Mapping[str, str]] = MappingProxyType({})
_CONTINUE: Final = {"role": "user", "content": INSTRUCTION}


class Handover(NamedTuple):
    """A history in the form for a target.

    `changed` are the messages, None if nothing changes. `functions` maps names of functions to what stands for
    them in this request. `without_reasoning`: the request may not ask for reasoning, since another model began the
    tool loop. `tool_marks`: how many tools keep `cache_control`, the last ones; None: all. `notes` say what could not
    be brought along. `binds`: as in the target's `Rule`.
    """

    history: History
    changed: Sequence[Message] | None = None
    functions: Mapping[str, str] = _NO_NAMES
    without_reasoning: bool = False
    tool_marks: int | None = None
    notes: tuple[str, ...] = ()
    binds: bool = False

    @property
    def messages(self) -> Sequence[Message]:
        """The messages to send: the request's own list where nothing changes."""
        return self.history.messages if self.changed is None else self.changed


def translate(
    history: History, target: Target, tools: frozenset[str] = frozenset(), marks: tuple[int, bool] = (0, False)
) -> Handover:
    """The history in the form for `target`.

    `tools` are the function names in the request's parameters, `marks` what `marks_beside` finds there.
    """
    own = history
    if target.form is Form.TOLD and not tools and (history.callers or "tool" in history.speakers):
        writers = history.writers
        history = History([turns.told(message) for message in history.messages])
        history.writers = writers
        target = replace(target, unsigned=target.rule.binds)
    if target.form is Form.SINGLE and target.rule.binds:
        target = replace(target, unsigned=_signed_behind_parallel_calls(history.messages))
    functions = _functions(history, target, tools)
    most, tool_marks = _most_marks(history, target, marks)
    if most is None and _stays(history, target, functions):
        changed = None if history is own else history.messages
        return Handover(own, changed, functions, tool_marks=tool_marks, binds=target.rule.binds)
    notes: dict[str, None] = {}
    messages = _rewritten(history, target, functions, notes)
    if not history.tidy:
        messages = turns.results_in_place(messages, history)
        if len(history.answers) - list(history.answers.values()).count(None) < len(history.calls):
            notes["results of tool calls: there are none, and a note says so to the model"] = None
    if "images" in history.keys and not target.on_openrouter:
        notes["images of answers: only OpenRouter has a place for them"] = None
    rule = target.rule
    if history.pictured and (target.strict or not rule.pictures):
        messages = turns.media_with_the_user(messages, _TOOL, turns.OF_RESULTS)
    if history.illustrated:
        messages = turns.media_with_the_user(messages, SYSTEM, turns.OF_INSTRUCTIONS)
        messages = turns.media_with_the_user(messages, _ASSISTANT, turns.OF_ANSWERS)
    if target.form is Form.SINGLE:
        messages = [_step(message, target) for message in turns.one_by_one(messages)]
    if target.strict:
        messages = [_plain(message) for message in messages]
    messages = turns.without_empty_end(messages)
    if history.voids:
        fill = turns.with_text if rule.empties and not target.strict else turns.filled
        messages = [fill(message) for message in messages]
    if not target.ends_with_assistant and (ended := turns.ended(messages, _CONTINUE)) is not messages:
        messages = ended
        notes["a final assistant message: an instruction tells the model to continue it"] = None
    roles = [message["role"] for message in messages]
    if turns.needs_turns(roles, frozenset(roles), rule, strict=target.strict):
        bridge = with_reasoning(turns.BRIDGE, target, None, {}, "")[0] if target.demands_reasoning else turns.BRIDGE
        messages = turns.in_turn(messages, rule, bridge, strict=target.strict)
    if rule.trims and messages[-1]["role"] == "assistant":
        messages = [*messages[:-1], turns.without_trailing_space(messages[-1])]
    if most is not None:
        messages = list(fewer_marks(messages, most))
        notes["some `cache_control` marks: the model takes only a few"] = None
    without = _thinking_refused(messages, history, target)
    if without:
        notes["thinking is switched off: another model began this tool loop"] = None
    same = len(messages) == len(own.messages) and all(
        new is old for new, old in zip(messages, own.messages, strict=True)
    )
    return Handover(own, None if same else messages, functions, without, tool_marks, tuple(notes), rule.binds)


def _signed_behind_parallel_calls(messages: Sequence[Message]) -> bool:
    """Whether signed reasoning follows a message with several calls, which the signature binds."""
    several = [position for position, message in enumerate(messages) if len(calls_of(message)) > 1]
    return bool(several) and any(map(owns_signed, messages[several[0] + 1 :]))


def _most_marks(history: History, target: Target, beside: tuple[int, bool]) -> tuple[int | None, int | None]:
    """How many marks the messages keep, and how many the tools; None: all.

    The mark of the whole request stays, and that of the last tool.
    """
    most = target.rule.most_marks
    tools, whole = beside
    if not target.marks:
        return None, 0
    if not most or not (history.marks or tools > 1):
        return None, None
    found = count_marks(history.messages) if history.marks else 0
    most -= whole
    if tools + found <= most:
        return None, None
    kept = min(found, most - min(tools, 1))
    return (kept if kept < found else None), most - kept


def _functions(history: History, target: Target, tools: frozenset[str]) -> Mapping[str, str]:
    names = tools if history.names <= tools else history.names | tools
    return changed_names(target.rule.functions, names) if names else _NO_NAMES


def _stays(history: History, target: Target, functions: Mapping[str, str]) -> bool:
    """Whether no message of the history needs a change."""
    rule, keys = target.rule, history.keys
    if target.strict or not history.tidy or functions:
        return False
    if target.form is Form.SINGLE and len(history.ids) > len(history.callers):
        return False
    if history.roles[-1] == "assistant" and (history.voids or rule.trims or not target.ends_with_assistant):
        return False
    if (history.pictured and not rule.pictures) or history.illustrated or history.odd:
        return False
    if (history.voids and not (rule.empties and history.texts)) or (history.marks and not target.marks):
        return False
    if history.ids and not holds(target.ids, history, functions):
        return False
    if "name" in keys and not _names_stay(history, target):
        return False
    if _SPEECH in keys and rule.family is not Family.OPENAI:
        return False
    if not (target.on_openrouter or _NOT_ELSEWHERE.isdisjoint(keys)) or turns.needs_turns(
        history.roles, history.speakers, rule, strict=False
    ):
        return False
    if not reasoning_stays(history, target):
        return False
    return not _may_refuse_thinking(target) or not _thinking_refused(history.messages, history, target)


def _names_stay(history: History, target: Target) -> bool:
    names = {message["name"] for message in history.seen if "name" in message}
    return all(isinstance(name, str) and name and message_name(target.rule.names, name) == name for name in names)


def _rewritten(history: History, target: Target, functions: Mapping[str, str], notes: dict[str, None]) -> list[Message]:
    """The history with each message rewritten for the target."""
    ids = wire_ids(target.ids, history.calls, functions) if history.calls else []
    renamed: defaultdict[int, dict[int, str]] = defaultdict(dict)
    first: dict[int, str] = {}
    for call, id in zip(history.calls, ids, strict=True):
        first.setdefault(call.position, id)
        if id != call.id:
            renamed[call.position][call.number] = id
    rare = history.marks or not _RARE.isdisjoint(history.keys) or (target.strict and not history.keys <= _KNOWN)
    messages: list[Message] = []
    for position, message in enumerate(history.messages):
        role = history.roles[position]
        if role == "assistant":
            changes = renamed.get(position, {})
            if changes or (functions and position in first):
                message = _with_calls(message, changes, functions)
            if history.odd or target.strict:
                message = with_arguments(message, objects=target.rule.objects or target.strict)
            if target.demands_reasoning or target.rule.signature or not REASONED.isdisjoint(message):
                writer = history.writers.get(position)
                old = _renamed(calls_of(history.messages[position]), changes) if changes else _NO_NAMES
                message, note = with_reasoning(message, target, writer, old, first.get(position, ""))
                if note:
                    notes[note] = None
        elif role == "tool":
            message = _with_result(message, history, position, ids, target, functions)
        messages.append(_other(message, target) if rare else message)
    return messages


def _renamed(calls: Sequence[Any], changes: Mapping[int, str]) -> dict[str, str]:
    """The changed ids of a message's calls; of several calls with one id, that of the first."""
    sent: dict[str, str] = {}
    for number, call in enumerate(calls):
        id = call.get("id") if isinstance(call, Mapping) else None
        if isinstance(id, str):
            sent.setdefault(id, changes.get(number, id))
    return sent


def _with_calls(message: Message, ids: Mapping[int, str], functions: Mapping[str, str]) -> Message:
    calls: list[Any] = []
    for number, call in enumerate(calls_of(message)):
        if isinstance(call, Mapping):
            function = call.get("function")
            if isinstance(function, Mapping) and (name := name_of(call)) in functions:
                call = {**call, "function": {**function, "name": functions[name]}}
            if number in ids:
                call = {**call, "id": ids[number]}
        calls.append(call)
    return {**message, "tool_calls": calls}


def _with_result(
    message: Message,
    history: History,
    position: int,
    ids: Sequence[str],
    target: Target,
    functions: Mapping[str, str],
) -> Message:
    number = history.answers.get(position)
    given = message.get("tool_call_id")
    id = ids[number] if number is not None else orphan_id(target.ids, given if isinstance(given, str) else "")
    if id != given:
        message = {**message, "tool_call_id": id}
    name = message.get("name")
    return {**message, "name": functions[name]} if isinstance(name, str) and name in functions else message


def _other(message: Message, target: Target) -> Message:
    """Translate the fields of any message: its name, `cache_control`, audio, and OpenRouter's own fields."""
    rule = target.rule
    if "name" in message:
        name = message["name"]
        if target.strict or not isinstance(name, str) or not name:
            message = {key: value for key, value in message.items() if key != "name"}
        elif (written := message_name(rule.names, name)) != name:
            message = {**message, "name": written}
    if not target.marks:
        message = without_marks(message)
    if not (target.on_openrouter or _NOT_ELSEWHERE.isdisjoint(message)):
        refusal = message.get("refusal")
        message = {key: value for key, value in message.items() if key not in _NOT_ELSEWHERE}
        if isinstance(refusal, str) and refusal and not message.get("content"):
            message["content"] = refusal
    if target.strict and not message.keys() <= _KNOWN:
        message = {key: value for key, value in message.items() if key in _KNOWN}
    if _SPEECH in message and rule.family is not Family.OPENAI and message["role"] == "assistant":
        message = _unspoken(message)
    return message


def _unspoken(message: Message) -> Message:
    """The message with its transcript instead of audio, which only its own model knows by an id."""
    audio = message[_SPEECH]
    said = audio.get("transcript") if isinstance(audio, Mapping) else None
    rest = {key: value for key, value in message.items() if key != _SPEECH}
    return {**rest, "content": said} if isinstance(said, str) and said and not rest.get("content") else rest


def _step(message: Message, target: Target) -> Message:
    """The message of a step that was one of several calls: the reasoning before it went with the first one."""
    calls = calls_of(message)
    id = calls[0].get("id") if calls and isinstance(calls[0], Mapping) else None
    return message if not isinstance(id, str) else with_reasoning(message, target, None, {}, id)[0]


def _plain(message: Message) -> Message:
    content = message.get("content")
    text = plain_text(content)
    return message if text is content else {**message, "content": text}


def _may_refuse_thinking(target: Target) -> bool:
    asked = target.strict if target.thinking is None else target.thinking
    return target.rule.thinking_first and asked


def _thinking_refused(messages: Sequence[Message], history: History, target: Target) -> bool:
    """Whether the request may not ask for reasoning: its tool loop or prefill does not begin with signed reasoning.

    A loop that another model went on with counts as such, too.
    """
    if not _may_refuse_thinking(target):
        return False
    turn = [messages[position] for position in turns.open_turn([message["role"] for message in messages])]
    if not (messages[-1]["role"] == "assistant" or any(calls_of(message) for message in turn)):
        return False
    if target.strict or not owns_signed(turn[0]):
        return True
    writers = (history.writers.get(position) for position in turns.open_turn(history.roles))
    return any(is_other(target, writer) for writer in writers)


__all__ = ["Handover", "Reasoning", "translate"]
