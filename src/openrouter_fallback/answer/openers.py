"""Openers: how a model begins that addresses the user instead of continuing a text. Pure: a text in, a verdict out.

An apology, an assent, an announcement, a greeting, a remark on the cut. A text that begins so is no clear continuation.
"""

from __future__ import annotations

import re
from itertools import product
from typing import Final

OPENER_CHARACTERS: Final = 64
"""The characters of a continuation that are searched for an opener, which begins with a capital letter."""

_MARKUP: Final = '*_>#"“([.…- '
_MISSING: Final = r"(?:rest|remain|continu)"
_WHOLE: Final = (
    r"(?:full|complete|whole|entire|revised|updated) (?:answer|response|text|version|message|list|code|story|reply)"
)
_SAID: Final = r"(?:message|response|answer|reply|text|conversation|output|connection)"
_STARTS: Final = (
    r"(?:I['’]m|I am|We['’]re) (?:so |very |really |truly |more than )?"
    r"(?:sorry|afraid|happy to|glad to|here to|unable to|not able to|not sure what)",
    r"(?:So |Very )?[Ss]orry",
    r"(?:I|We|Please accept my|My)(?: sincere| deepest)? ?[Aa]polog(?:i[sz]e|ies|y)",
    r"Apologies|Sure(?: thing)?|Certainly|Of course|Absolutely|Understood|Got it|No problem|Okay|OK|Alright|All right",
    r"Great|Thank you|Thanks|You['’]re (?:right|welcome)|No worries|Right away",
    r"Please (?:go ahead|continue|provide|share|let me|tell me)",
    rf"(?:Here(?:['’]s| is| are)|This is|Below is) (?:the|my|your|a) .{{0,24}}(?:{_MISSING}\w*|{_WHOLE})",
    r"Here (?:you|we|it) go(?:es)?\b",
    r"Continuing|Continued|Continuation|Picking up|Resuming|Restarting|(?:Start|Beginn)ing (?:over|again|from the)",
    r"From the (?:beginning|start|top)\b(?=[:.,!])",
    r"(?:Let me|Let['’]s|I['’]ll|I will|Allow me to|I can) (?:just )?"
    rf"(?:{_MISSING}|pick up|resume|restart|redo|go on|finish|complete|(?:start|begin|try)(?: over| again| from))\w*",
    rf"(?:It|That) (?:seems|looks like|appears)(?: like| that)? (?:I|(?:my|your|the) (?:previous |last )?{_SAID})\b",
    r"(?:My|Your) (?:previous|last) (?:message|response|answer|reply)",
    rf"(?:My|Your|The) (?:previous |last )?{_SAID} (?:was|got|has been|seems|appears|ends|looks) .{{0,16}}"
    r"(?:cut|interrupted|incomplete|truncated|unfinished|there)",
    r"You (?:didn['’]t|did not|haven['’]t) (?:finish|complete|provide)",
    r"As (?:requested|an AI)|I (?:cannot|can['’]t|was cut off|understand|don['’]t see|do not see|got cut off)",
    r"I(?:['’]d| would) be (?:more than )?(?:happy|glad|delighted)|(?:Happy|Glad) to\b(?= help|[!.,:])",
    r"Unfortunately,? I(?:['’]m| am| cannot| can['’]t| don['’]t| do not)",
    r"(?:Yes|No),? (?:of course|sure|certainly|I)\b|(?:Oops|Whoops)\b|My bad\b",
    r"(?:Oh|Ah|Hmm+|Well|Right),? (?:I['’]m |so )?"
    r"(?:sorry|apologies|it (?:seems|looks|appears)|where was I|the message)",
    r"As I was saying|To (?:continue|pick up)\b|Pardon (?:me|the)|Excuse me|(?:Good|Great) question|Welcome back",
    r"(?:Hello|Hi|Hey)(?: there)?[!,.] (?:How|What|I|It|Welcome)",
    r"How (?:can|may) I (?:help|assist)|What would you like|Could you (?:please )?|Note: continu\w+",
)
_OPENER: Final = re.compile(
    rf"[*_>#\"“(\[]{{0,3}}(?:{'|'.join(_STARTS)})\b|(?:[(\[]|\.\.\.|…) ?[Cc]ontinu(?:ed|ing|ation)\b"
)
_WORD: Final = re.compile(r"[A-Za-z'’]+")
_FIRST: Final = (
    "I|I'm|I’m|I'll|I’ll|I'd|I’d|We|We're|We’re|So|Very|Sorry|sorry|Please|My|Apologies|Sure|Certainly|Of|Absolutely"
    "|Understood|Got|No|Okay|OK|Alright|All|Great|Thank|Thanks|You|You're|You’re|Right|Here|Here's|Here’s|This|Below"
    "|Continuing|Continued|Continuation|continuing|continued|continuation|Picking|Resuming|Restarting|Restart|Starting"
    "|Beginning|From|Let|Let's|Let’s|Allow|It|That|The|Your|As|How|What|Could|Happy|Glad|Unfortunately|Yes|Oops|Whoops"
    "|Oh|Ah|Hmm|Well|To|Pardon|Excuse|Good|Welcome|Hello|Hi|Hey|Note|Answer|Response"
)
_FIRST_WORDS: Final = frozenset(_FIRST.split("|"))
"""First words of models that address the user instead of continuing: an apology, an assent, an announcement."""

_APOLOGIES: Final = (
    *("Lo siento", "Disculp", "Perdón", "Perdona", "Lamento"),  # Spanish, Portuguese
    *("Je suis désolé", "Désolé", "Je m'excuse", "Je m’excuse", "Excusez", "Toutes mes excuses"),
    *("Es tut mir leid", "Tut mir leid", "Entschuldig", "Verzeih"),
    *("Mi dispiace", "Mi scuso", "Scusa", "Desculp", "Sinto muito", "Peço desculpa"),
    *("Het spijt me", "Przepraszam", "Üzgünüm", "Özür dilerim"),
    *("Извините", "Простите", "Прошу прощения"),
    *("很抱歉", "抱歉", "对不起", "對不起", "不好意思", "申し訳", "すみません", "ごめん", "죄송"),
    *("عذر", "آسف", "क्षमा करें", "माफ़"),
)
_ANNOUNCEMENTS: Final = (
    *("Aquí está el resto", "Aquí está la continuación", "Aqui está o resto", "Aqui está a continuação"),
    *("Voici la suite", "Voici le reste", "Hier ist der Rest", "Hier ist die Fortsetzung", "Ecco il resto"),
    *("Ecco la continuazione", "Вот продолжение", "以下是其余", "以下是剩余", "以下是续", "続きです"),
)
_ASSENTS: Final = (
    *("Claro", "Por supuesto", "Com certeza", "Bien sûr", "D'accord", "D’accord", "Natürlich", "Gerne"),
    *("Selbstverständlich", "Certo", "Certamente", "Natuurlijk", "Oczywiście", "Tabii", "Конечно"),
    *("当然", "當然", "好的", "もちろん", "はい", "承知しました", "물론", "네", "بالطبع", "بالتأكيد"),
)
_LITERALS: Final = (
    *_APOLOGIES,
    *_ANNOUNCEMENTS,
    # An assent in mid-sentence is an adverb; as an opener a stop follows it.
    *map("".join, product(_ASSENTS, (",", "!", ".", ":", " !", " :", "，", "！", "。", "、", "：", "،"))),
    *map("".join, product(("¡",), ("Claro", "Por supuesto", "Perdón"))),
)


def opens(text: str) -> bool:
    """Whether a text begins with an opener."""
    return _OPENER.match(text[:OPENER_CHARACTERS]) is not None or text.lstrip(_MARKUP).startswith(_LITERALS)


def may_open(text: str) -> bool:
    """Whether a text begins with the first word of an opener, or is the beginning of one."""
    start = text.lstrip(_MARKUP)
    if not start or start.startswith(_LITERALS) or any(one.startswith(start) for one in _LITERALS):
        return True
    word = _WORD.match(start)
    if word is None or word.end() == len(start):
        return word is not None and any(first.startswith(word[0]) for first in _FIRST_WORDS)
    return word[0] in _FIRST_WORDS
