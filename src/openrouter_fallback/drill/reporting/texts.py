"""Makes texts of models and servers safe for a page: bounded, and only characters that XML allows."""

from __future__ import annotations

import re

# This also excludes terminal control characters, and lone surrogates, which cannot be encoded.
_NOT_ALLOWED = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LONGEST = 2000


def tame(text: object, longest: int = _LONGEST) -> str:
    """The text; of a text longer than `longest` characters, the beginning and the number of missing characters."""
    whole = str(text)
    more = f" … and {len(whole) - longest} characters more" if len(whole) > longest else ""
    return _NOT_ALLOWED.sub("\N{REPLACEMENT CHARACTER}", whole[:longest]) + more


def label(text: object, longest: int) -> str:
    """The text as a label, cut to at most `longest` characters."""
    clean = _NOT_ALLOWED.sub("\N{REPLACEMENT CHARACTER}", str(text))
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"
