"""The continuation of delivered text by another model: where the new text joins. Pure: text in, text out.

The next candidate gets the conversation and the delivered text, as an assistant message to continue (`prefill`) or
with an instruction (`instruct`). Its answer may continue the text, start over, repeat the end, or begin with a preface.
A `SeamJoiner` holds the answer back until this is clear, and then returns exactly the missing text. If it stays
unclear, the joiner raises `SeamNotFound`: it never guesses.
"""

from __future__ import annotations

import re
from enum import StrEnum

from .openers import OPENER_CHARACTERS, may_open, opens

OVERLAP_CHARACTERS = 20
"""The least length of a repetition; shorter ones may be chance."""
PREFACE_CHARACTERS = 160


_OPENERS = (
    *("sure", "certainly", "of course", "absolutely", "okay", "ok", "understood", "got it", "sorry", "apologies"),
    *("here's", "here’s", "here is", "here are", "continuing", "let me", "i'll", "i’ll", "i will", "the rest"),
)
_WORDS = r"[a-z'’ ,.!-]"
_PREFACE = re.compile(
    rf"\s*(?:{'|'.join(map(re.escape, _OPENERS))})\b{_WORDS}{{0,{PREFACE_CHARACTERS}}}?"
    rf"\b(?:rest|remain\w*|continu\w*|left off|cut off|stopped|interrupted|pick(?:ed|ing)? up)\b{_WORDS}{{0,80}}:"
    r"(?:\n{1,2}|[ ]|\Z)",
    re.IGNORECASE,
)

_NO_LETTER = re.compile(r"[\W_]+")
_OUTRIGHT = re.compile(r"\b(?:the (?:rest|remain\w*|continuation)|continuing|left off|cut off)\b", re.IGNORECASE)
"""With these words, a line with text after its colon is a preface; without them the line may belong to the text.

Whether the blank after the colon belongs to the text is known only if a blank was delivered.
"""


class ContinuationMode(StrEnum):
    """How a model continues a text: by prefill, by instruction, or not at all (`continues` in its settings)."""

    PREFILL = "prefill"
    INSTRUCT = "instruct"
    NEVER = "never"


class SeamNotFound(Exception):
    """The continuation neither clearly continues nor clearly repeats the text: joining it would be a guess."""


def only_by_prefill(text: str) -> bool:
    """Whether `text` ends inside a code fence or unfinished JSON, which an answer to an instruction would break."""
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


class SeamJoiner:
    """Joins one continuation to the delivered text.

    `feed` takes the continuation's text as it comes and returns the text to deliver now, `finish` the rest; both raise
    `SeamNotFound`. `trusted`: the model is known to continue, so that only blanks are compared. Afterwards `how` says
    what the model did (`went_on`, `restarted`, `overlapped`, `completed`), and `dropped` counts the omitted characters.
    """

    def __init__(self, delivered: str, *, trusted: bool = False) -> None:
        self.how = ""
        self.dropped = 0
        self.delivered = delivered
        self._prefill = delivered.rstrip()
        self._blanks = delivered[len(self._prefill) :]
        self._trusted = trusted
        self._held = ""
        self._prefaced = False
        self._joining = False
        self._joined = False

    @property
    def joined(self) -> bool:
        """Whether the seam has been found."""
        return self._joined

    def feed(self, text: str) -> str:
        """Take more of the continuation. Returns the text to deliver now."""
        if self._joined:
            return text
        self._held += text
        return self._join(final=False)

    def finish(self, *, cut_off: bool = False) -> str:
        """The continuation has ended properly, or by its length (`cut_off`). Returns the text that was held back."""
        if self._joined:
            return ""
        if cut_off and self._held and not (self._joining or self._trusted) and self._unclear():
            raise SeamNotFound("the continuation was cut off before it was clear what it does")
        return self._join(final=True)

    def complete(self) -> None:
        """The continuation has ended properly without text: the delivered text was complete."""
        if not self._joined:
            self.dropped += len(self._held)
        self.how, self._joined, self._held = "completed", True, ""

    def _join(self, *, final: bool) -> str:
        if not self._joining:
            verdict = ("went_on", 0) if self._trusted else self._find(final=final)
            if verdict is None:
                return ""
            self.how, drop = verdict
            self.dropped += drop
            self._held = self._held[drop:]
            self._joining = True
        # The prefill was sent without trailing blanks: the model may or may not repeat the delivered ones.
        held, blanks = self._held, self._blanks
        if not final and len(held) < len(blanks) and blanks.startswith(held):
            return ""
        again = _common(held, blanks)
        self.dropped += again
        self._joined, self._held = True, ""
        return held[again:]

    def _find(self, *, final: bool) -> tuple[str, int] | None:
        """What the continuation does, and how many characters to drop; None while this is unclear."""
        if not self._prefill:
            return "went_on", 0
        start = self._repeated_from_start(final=final)
        if start is not None or self._open(final=final):
            return start
        end = self._repeated_end(final=final)
        if end is not None:
            return end
        if not self._prefaced:
            preface = _PREFACE.match(self._held)
            if preface is not None and (final or preface.end() < len(self._held)):
                if preface[0].endswith(" ") and not (self._blanks and _OUTRIGHT.search(preface[0])):
                    raise SeamNotFound("the continuation may open with a preface or continue the same way")
                self._prefaced = True
                self.dropped += preface.end()
                self._held = self._held[preface.end() :]
                return self._find(final=final) if self._held or final else None
            if not final and _may_be_preface(self._held):
                return None
            return self._behind_an_opener(final=final)
        return "went_on", 0

    def _behind_an_opener(self, *, final: bool) -> tuple[str, int] | None:
        """What a continuation with a possible preface does; None while this is unclear."""
        held = self._held.lstrip()
        if not final and len(held) < OPENER_CHARACTERS and may_open(held):
            return None
        start = self._prefill.lstrip()[:OVERLAP_CHARACTERS]
        if not opens(held):
            if may_open(held) and len(start) == OVERLAP_CHARACTERS and start in held[1:OPENER_CHARACTERS]:
                raise SeamNotFound("the continuation may start over behind an opener, or quote the beginning")
            return "went_on", 0
        again = self._held.find(start, 1, PREFACE_CHARACTERS + OVERLAP_CHARACTERS)
        if again > 0 and len(start) == OVERLAP_CHARACTERS:
            self._prefaced = True
            self.dropped += again
            self._held = self._held[again:]
            return self._find(final=final)
        if not final and len(held) < PREFACE_CHARACTERS + OVERLAP_CHARACTERS:
            return None
        raise SeamNotFound("the continuation opens by speaking to the user, or continues the same way")

    def _open(self, *, final: bool) -> bool:
        """Whether the held text could still become a repetition."""
        held, start = self._held.lstrip(), self._prefill.lstrip()
        if final:
            return False
        return not held or start.startswith(held) or self._held in self.delivered or self._alike(held, start) is None

    def _unclear(self) -> bool:
        held = self._held.lstrip()
        return self._open(final=False) or (
            not self._prefaced and (_may_be_preface(held) or (len(held) < OPENER_CHARACTERS and may_open(held)))
        )

    def _repeated_from_start(self, *, final: bool) -> tuple[str, int] | None:
        held, start = self._held.lstrip(), self._prefill.lstrip()
        same = _common(held, start)
        if same == len(start):
            # A short text, a text that repeats itself, or one on a new line may be new text.
            if (
                len(start) < OVERLAP_CHARACTERS
                or (self._held[:1].isspace() and not self.delivered[:1].isspace())
                or _border(start) >= OVERLAP_CHARACTERS
                or _periodic(start)
                or _opens_like_preface(start)
            ):
                raise SeamNotFound("the continuation may repeat the answer or continue the same way")
            return "restarted", len(self._held) - len(held) + len(start)
        if same == len(held) and not final:
            return None
        if same >= OVERLAP_CHARACTERS or self._alike(held, start):
            raise SeamNotFound("the continuation starts over in other words")
        return None

    def _alike(self, held: str, start: str) -> bool | None:
        """Whether the text begins like the answer, but for case, blanks and markup; None while it may."""
        said = _letters(held[: 4 * OVERLAP_CHARACTERS])
        same = _common(said, _letters(start[: 4 * OVERLAP_CHARACTERS]))
        if same < len(said) or same >= OVERLAP_CHARACTERS:
            return same >= OVERLAP_CHARACTERS
        return None if said or len(held) < 4 * OVERLAP_CHARACTERS else False  # a letter may still come

    def _repeated_end(self, *, final: bool) -> tuple[str, int] | None:
        held, text = self._held, self.delivered
        for end in (text, self._prefill):
            length = _overlap(end, held)
            if length >= OVERLAP_CHARACTERS:
                tail = held[:length]
                if (
                    _border(tail) >= OVERLAP_CHARACTERS
                    or _periodic(tail)
                    or _opens_like_preface(tail)
                    # A text that has come twice may be intended a third time.
                    or text.find(tail.strip()) < len(end) - length
                ):
                    raise SeamNotFound("the continuation may repeat the end or continue the same way")
                if end is text:
                    self._blanks = ""  # the blanks belong to the repetition
                return "overlapped", length
        if final and len(held) >= OVERLAP_CHARACTERS and held in text:
            raise SeamNotFound("the continuation is a part of the answer")
        return None


def _common(one: str, other: str) -> int:
    """The length of the common prefix."""
    length = min(len(one), len(other))
    if one[:length] == other[:length]:
        return length
    low, high = 0, length
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _prefix_function(text: str) -> list[int]:
    """For each position, the length of the longest proper border of the text up to it (Knuth, Morris, Pratt)."""
    borders = [0] * len(text)
    for position in range(1, len(text)):
        length = borders[position - 1]
        while length and text[position] != text[length]:
            length = borders[length - 1]
        borders[position] = length + (text[position] == text[length])
    return borders


def _border(text: str) -> int:
    return _prefix_function(text)[-1] if text else 0


def _periodic(text: str) -> bool:
    """Whether the text is a shorter text, repeated at least twice."""
    return bool(text) and len(text) - _border(text) <= len(text) // 2


def _overlap(end: str, begin: str) -> int:
    """The length of the longest suffix of `end` that is a prefix of `begin`."""
    size = min(len(end), len(begin))
    if not size:
        return 0
    # The two texts are separated by position and not by a character, which a text could contain.
    borders = _prefix_function(begin[:size])
    length = 0
    for character in end[-size:]:
        while length and (length == size or character != begin[length]):
            length = borders[length - 1]
        length += character == begin[length]
    return length


def _may_be_preface(held: str) -> bool:
    start = held.lstrip().lower()
    if len(start) > PREFACE_CHARACTERS or "\n" in start.rstrip("\n"):
        return False
    return any(start.startswith(opener) or opener.startswith(start) for opener in _OPENERS)


def _letters(text: str) -> str:
    """The text without case, blanks and markup: what stays the same in another form."""
    return _NO_LETTER.sub("", text).casefold()


def _opens_like_preface(text: str) -> bool:
    return _may_be_preface(text) or _PREFACE.match(text) is not None
