"""Foreign texts, fit for a page: bounded, and of characters that XML allows."""

from __future__ import annotations

import re

# Among them what a terminal obeys, and lone surrogates, which no encoding takes.
_NOT_ALLOWED = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LONGEST = 2000


def tame(text: object, longest: int = _LONGEST) -> str:
    """The text, or its beginning and how much more there is."""
    said = str(text)
    more = f" … and {len(said) - longest} characters more" if len(said) > longest else ""
    return _NOT_ALLOWED.sub("\N{REPLACEMENT CHARACTER}", said[:longest]) + more


def label(text: object, longest: int) -> str:
    """The text as a label of at most so many characters, its end cut off."""
    said = _NOT_ALLOWED.sub("\N{REPLACEMENT CHARACTER}", str(text))
    return said if len(said) <= longest else said[: longest - 1] + "…"
