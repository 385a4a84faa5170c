"""Generates `emulator.md`: every fault of the emulator and every rule of its strict mode."""

from __future__ import annotations

from typing import Final

from openrouter_fallback.emulator import FAULTS, Kind
from openrouter_fallback.emulator.faults.errors import ERROR_DETAILS, ERRORS
from openrouter_fallback.emulator.faults.refusals import REFUSALS
from openrouter_fallback.emulator.faults.shapes import SHAPES
from openrouter_fallback.emulator.requests.strict import RULES, SILENCE, SILENT, Rule

_HEAD: Final = """# What the emulator imitates

This page lists every fault that [the emulator](testing-your-app.md) can play and every rule that its strict mode
checks. It is made from the code's tables. A test fails when it is stale. "Seen in" names threads of public repositories
(without the owner if the name is enough), the documentation of a provider, or recordings.

"""
_RULES: Final = """## Strict mode

Strict mode is `Emulator(strict=True)`, `--strict`, or `strict: true` in a script. Each history is checked as the
servers of the model's family check it. The family and the generation come from the model's id. A refused history gets
a 400 "Provider returned error" (404 if the rule says so), streamed or not, with the provider's own body in
`metadata.raw`. Other families, and open weights such as Gemma and gpt-oss, have only [the rules of all
models](testing-your-app.md#what-it-refuses).

"""
_WRITING: Final = """
In strict mode the answers have the form of each family:

- **Ids of tool calls**: `toolu_...`, `call_...`, nine characters at Mistral, `functions.NAME:0` at Kimi in every turn,
  none or `tool_0_NAME` at Gemini.
- **`reasoning_details`**, for a request with reasoning: signed text (Claude), a summary and encrypted reasoning with an
  id `rs_...` (OpenAI, xAI), a signature for the first call (Gemini 3, also without reasoning), plain text (others).

Signatures are digests of the content that they belong to, so another emulator with the same `api_key` accepts them.
"""


_NAMES: Final = ", ".join(f"`{name}`" for name in ERROR_DETAILS)


def made() -> dict[str, str]:
    """The text of the page, by its name."""
    odd = {name: FAULTS[name] for name in (*REFUSALS, *SHAPES)}
    own = {name: kind for name, kind in FAULTS.items() if name not in ERRORS and name not in odd}
    parts = [
        _HEAD,
        f"## Errors of OpenRouter\n\nAll take {_NAMES}.\n\n",
        _table({name: FAULTS[name] for name in ERRORS}),
        "\n## Connections, silence, broken answers\n\n",
        _table(own),
        "\n## Refusals in other words and shapes\n\n",
        _table({name: FAULTS[name] for name in REFUSALS}, sourced=True),
        "\n## Answers that are not what they say\n\n",
        _table({name: FAULTS[name] for name in SHAPES}, sourced=True),
        "\n",
        _RULES,
        _rules(),
        _WRITING,
    ]
    return {"emulator.md": "".join(parts)}


def _table(kinds: dict[str, Kind], *, sourced: bool = False) -> str:
    rows = ["| fault | what is played | takes |" + (" seen in |" if sourced else "")]
    rows.append("|---|---|---|" + ("---|" if sourced else ""))
    for name, kind in kinds.items():
        cells = [f"`{name}`", kind.doc, _details(kind), *([kind.source] if sourced else ())]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _details(kind: Kind) -> str:
    """The details of a fault; "" for an error, since a sentence above the table names the details of all errors."""
    return "" if kind.details == ERROR_DETAILS else ", ".join(f"`{name}`" for name in kind.details)


def _rules() -> str:
    rows = ["| family | rule | what holds | seen in |", "|---|---|---|---|"]
    for name, rule in [*RULES.items(), (SILENT, SILENCE)]:
        rows.append(f"| {_families(rule)} | `{name}` | {rule.what.replace('|', '&#124;')} | {rule.source} |")
    return "\n".join(rows) + "\n"


def _families(rule: Rule) -> str:
    return ", ".join(rule.families)
