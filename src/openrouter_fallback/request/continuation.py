"""The request to continue a text: by prefill or by instruction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..answer.seam import ContinuationMode

INSTRUCTION = (
    "Your previous message was cut off. Continue it exactly where it stops: begin with the very next character, "
    "repeat nothing, add no introduction and no comment."
)


def continued(messages: Sequence[Mapping[str, Any]], text: str, way: ContinuationMode) -> list[Mapping[str, Any]]:
    """The conversation with the delivered `text`, for a model to continue.

    Trailing blanks are removed (providers refuse them). A final assistant message of the caller is extended.
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
