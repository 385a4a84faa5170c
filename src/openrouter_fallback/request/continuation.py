"""The request that asks a model to continue a text: by prefill or by instruction."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..answer.seam import ContinuationMode

INSTRUCTION = (
    "Your previous message was cut off. Continue it exactly where it stops: begin with the very next character, "
    "repeat nothing, add no introduction and no comment."
)


def continued(messages: Sequence[Mapping[str, Any]], text: str, way: ContinuationMode) -> list[Mapping[str, Any]]:
    """The conversation with the delivered `text`, for a model to go on from.

    Trailing blanks are left out (providers refuse them); a caller's own final assistant message is extended.
    """
    prefill = text.rstrip()
    kept, last = list(messages), messages[-1] if messages else None
    if last is not None and last.get("role") == "assistant" and isinstance(last.get("content"), str):
        kept[-1] = {**last, "content": last["content"] + prefill}
    else:
        kept.append({"role": "assistant", "content": prefill})
    if way is ContinuationMode.INSTRUCT:
        kept.append({"role": "user", "content": INSTRUCTION})
    return kept


def only_by_prefill(text: str) -> bool:
    """Whether `text` stops inside a code fence or unfinished JSON, where an instruction would break the form."""
    if len(re.findall(r"^\s*(?:```|~~~)", text, re.MULTILINE)) % 2:
        return True
    start = text.lstrip()[:1]
    return start in ("{", "[") and not _balanced(text)


def _balanced(text: str) -> bool:
    depth, quoted, escaped = 0, False, False
    for character in text:
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = character == "\\", character != '"'
        elif character == '"':
            quoted = True
        else:
            depth += (character in "{[") - (character in "}]")
    return depth <= 0 and not quoted
