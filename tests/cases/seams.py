"""Where an answer can break off, and what a model can make of it: every text x every behaviour is a seam.

A text is written with `CUT` where the first model broke off. `LOST` names the seams that nobody can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product

CUT = "¦"

_PROSE = (
    "A circuit breaker opens after three failures in a row; until it closes, calls go to the next model in the chain."
)
_CODE = "It is:\n\n```python\ndef fib(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n"
_TABLE = "| model | price |\n|---|---|\n| one | $1.25 |\n| two | $3.00 |\n| three | $15.00 |\n"
_LIST = "1. Read the file.\n2. Parse every line.\n3. Sort by date.\n4. Write the result.\n"

TEXTS: Mapping[str, str] = {
    "prose, between words": _PROSE.replace("failures in", f"failures{CUT} in"),
    "prose, after a blank": _PROSE.replace("failures in", f"failures {CUT}in"),
    "prose, in a word": _PROSE.replace("failures in", f"fail{CUT}ures in"),
    "prose, in the last word": _PROSE.replace("chain.", f"cha{CUT}in."),
    "before the last token": _PROSE.replace("chain.", f"chain{CUT}."),
    "after the last token": _PROSE + CUT,
    "after one token": _PROSE.replace("A circuit", f"A{CUT} circuit"),
    "after one long token": "Characteristically" + CUT + ", the breaker opens after three failures.",
    "in a number": f"The speed of light in a vacuum is 299 7{CUT}92 458 metres per second, by definition.",
    "after a decimal point": f"The ratio of a circle's circumference to its diameter is 3.{CUT}14159265358979.",
    "code, at an indentation": _CODE.replace("        a, b = b", f"        {CUT}a, b = b") + "    return a\n```\n",
    "code, before an indentation": _CODE.replace("\n        a, b = b", f"{CUT}\n        a, b = b")
    + "    return a\n```\n",
    "code, in an indentation": _CODE.replace("        a, b = b", f"    {CUT}    a, b = b") + "    return a\n```\n",
    "code, in a fence": _CODE + f"    return a\n``{CUT}`\n\nThat is all.",
    "after a code block": _CODE + f"    return a\n```\n{CUT}\nThat is all there is to it.",
    "a table, in a cell": _TABLE.replace("$3.00", f"$3{CUT}.00"),
    "a table, at a row": _TABLE.replace("\n| two", f"\n{CUT}| two"),
    "a list, in an item": _LIST.replace("every line", f"every{CUT} line"),
    "a list, after a number": _LIST.replace("3. Sort", f"3. {CUT}Sort"),
    "paragraphs, between the two newlines": f"The first paragraph says one thing.\n{CUT}\nThe second another one.",
    "paragraphs, after both newlines": f"The first paragraph says one thing.\n\n{CUT}The second another one.",
    "trailing blanks": f"A line with a hard break at its end  {CUT}\nand another line after it.",
    "JSON, in a string": '{"name": "circuit breaker", "states": ["closed", "op' + CUT + 'en", "half-open"]}',
    "JSON, after a colon": '{"name": "circuit breaker", "failures": ' + CUT + '3, "seconds": 10.5}',
    "JSON, at an escape": '{"path": "C:\\\\Users\\\\someone\\' + CUT + '\\breaker", "size": 3}',
    "Chinese": f"断路器在连续三次失败之后打开；在它关闭之前，所有请求都{CUT}会发送给链中的下一个模型。",
    "Chinese, after a comma": f"断路器在连续三次失败之后打开，{CUT}在它关闭之前，所有请求都会发送给链中的下一个模型。",
    "Arabic": f"يفتح قاطع الدائرة بعد ثلاث مرات من الفشل المتتا{CUT}لي، ثم تذهب الطلبات إلى النموذج التالي.",
    "Hindi, before a vowel sign": f"सर्किट ब्रेकर लगातार तीन विफलताओं के बाद खुल जात{CUT}ा है और फिर बंद होता है।",
    "an emoji, before its joiner": f"The family of four says hello: 👨{CUT}\u200d👩\u200d👧\u200d👦 and waves.",
    "an emoji, after its joiner": f"The family of four says hello: 👨\u200d{CUT}👩\u200d👧\u200d👦 and waves.",
    "an emoji, before its skin": f"Everybody claps their hands: 👏{CUT}🏽👏🏽👏🏽 and leaves.",
    "a flag, in two": f"The flags of the two countries are 🇫{CUT}🇷 and 🇩🇪, side by side.",
    "a combining mark": f"The word is written nai{CUT}\u0308ve, with two dots over its i.",
    "repeated words": f"He laughed and said: ha ha ha ha {CUT}ha ha ha, and then he went home.",
    "a rule of dashes": f"Chapter one of the book\n------------{CUT}------------\nIt was a dark night.",
    "a refrain": f"Row, row, row your boat along the stream.\n{CUT}Row, row, row your boat along the stream.",
    "a preface of its own": f"Sure, here is the rest of the story:{CUT} once upon a time there was a breaker.",
    "going on like a preface": f"He looked up and asked what was next. {CUT}Sure, he could continue: she was there.",
}


def parts(name: str) -> tuple[str, str]:
    """What was delivered of a text, and what is missing."""
    delivered, _, missing = TEXTS[name].partition(CUT)
    return delivered, missing


def _goes_on(delivered: str, missing: str) -> str:
    prefill = delivered.rstrip()
    return (delivered + missing)[len(prefill) :]


def _overlaps(delivered: str, missing: str) -> str:
    return delivered.rstrip()[-30:] + _goes_on(delivered, missing)


def _goes_on_without_blanks(delivered: str, missing: str) -> str:
    # A model cannot leave out blanks that it would have said twice.
    return _goes_on(delivered, missing) if missing[:1].isspace() else missing


BEHAVIOURS: Mapping[str, Callable[[str, str], str]] = {
    "goes on": _goes_on,
    "goes on without the blanks": _goes_on_without_blanks,
    "starts over": lambda delivered, missing: delivered + missing,
    "overlaps": _overlaps,
    "prefaces": lambda delivered, missing: "Sure, here is the rest:\n\n" + _goes_on(delivered, missing),
    "prefaces in line": lambda delivered, missing: (
        "Continuing from where I left off: " + _goes_on_without_blanks(delivered, missing)
    ),
    "prefaces and starts over": lambda delivered, missing: (
        "Certainly! Continuing from where I left off:\n\n" + delivered + missing
    ),
}
"""What each model says, given the delivered text and the missing one."""

_AGAIN = ("starts over", "overlaps", "prefaces and starts over")
_ON = ("goes on", "goes on without the blanks", "prefaces")
LOST = {
    # Too short to tell a repetition from chance.
    *product(("after one token", "after one long token", "Chinese, after a comma"), _AGAIN),
    # A refrain looks like an answer that starts over.
    *product(("a refrain",), ("goes on", "prefaces")),
    # The answer itself reads like a preface.
    *product(("a preface of its own",), (*_AGAIN, "prefaces")),
    *product(("going on like a preface",), _ON[:2]),
    # The blank after the colon may belong to the text.
    *((name, "prefaces in line") for name in TEXTS if parts(name)[0][-1:].strip()),
    ("a preface of its own", "prefaces in line"),
}
SEAMS = [
    seam
    for seam in product(TEXTS, BEHAVIOURS)
    # The very characters of an answer that starts over; that is what they are taken for.
    if seam not in product(("a refrain",), ("goes on without the blanks", "prefaces in line"))
]
