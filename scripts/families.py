"""Make the table of well-known families, which a client uses until it has fetched the list of models.

    curl https://openrouter.ai/api/v1/models > models.json
    python scripts/families.py models.json 2026-08-31 > src/openrouter_fallback/catalog/families.py

The name of a family is the beginning of its models' ids, up to a "-", a ":" or the end. A family has every ability that
at least one of its models has. Its context length is known only if all its models have the same context length.
`IDS` are the ids of their models, with which a misspelt id is answered.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

FAMILIES = (
    "anthropic/claude",
    "deepseek/deepseek-chat",
    "deepseek/deepseek-v3.2",
    "google/gemini",
    "meta-llama/llama-3.3",
    "meta-llama/llama-4",
    "minimax/minimax-m2",
    "mistralai/mistral-nemo",
    "moonshotai/kimi-k2",
    "openai/gpt-4.1",
    "openai/gpt-4o",
    "openai/gpt-5",
    "openai/gpt-5.1",
    "openai/gpt-5.2",
    "openai/gpt-oss",
    "openai/o4",
    "qwen/qwen3-235b",
    "x-ai/grok-4.1",
    "z-ai/glm-4.5",
    "z-ai/glm-4.6",
)
ABILITIES = ("reasoning", "response_format", "structured_outputs", "tools")

Entry = Mapping[str, Any]


def belongs(id: str, family: str) -> bool:
    """Whether an id begins with the family's name."""
    rest = id.removeprefix(family)
    return rest != id and (not rest or rest[0] in "-:")


def row(family: str, members: list[Entry]) -> str:
    """The row of a family: context, inputs, parameters. Raises `SystemExit` if the list has no model of the family."""
    if not members:
        raise SystemExit(f"the list has no model of the family {family}")
    contexts = {member["context_length"] for member in members}
    context = contexts.pop() if len(contexts) == 1 else None
    inputs = _any(member["architecture"]["input_modalities"] for member in members)
    abilities = _any(member["supported_parameters"] for member in members).intersection(ABILITIES)
    return f'    "{family}": ({context}, "{" ".join(sorted(inputs))}", "{" ".join(sorted(abilities))}"),\n'


def table(listing: Iterable[Entry], day: date) -> str:
    """The text of the generated module."""
    listing = list(listing)
    rows = (row(family, [one for one in listing if belongs(one["id"], family)]) for family in FAMILIES)
    ids = sorted({one["id"] for one in listing for family in FAMILIES if belongs(one["id"], family)})
    return (
        f'"""Well-known families, from a list of models of {day}. Made by scripts/families.py: do not edit."""\n\n'
        "from __future__ import annotations\n\nfrom typing import Final\n\n"
        f'DATE: Final = "{day}"\nFAMILIES: Final[dict[str, tuple[int | None, str, str]]] = {{\n{"".join(rows)}}}\n'
        f"IDS: Final = (\n{''.join(f'    {json.dumps(id)},{chr(10)}' for id in ids)})\n"
    )


def _any(lists: Iterable[Iterable[str]]) -> set[str]:
    return {item for one in lists for item in one}


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.stdout.write(table(json.loads(Path(sys.argv[1]).read_bytes())["data"], date.fromisoformat(sys.argv[2])))
