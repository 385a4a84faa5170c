"""An endpoint's key: is it there, does it look like one, is it accepted? It is never shown."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from .. import AuthenticationError, CatalogError, EndpointConfig, FallbackClient, FallbackConfig, FallbackError
from .analysis.audit import OPENROUTER, Finding, Level

REACH = "Check the network, the proxy, base_url and OPENROUTER_BASE_URL."
ONLINE_ONCE = (
    "Run the command once without --offline. The list of a server on this machine is stored only with "
    "settings.catalog: always."
)
_OPENROUTER_KEY = "sk-or-"
_KEYS_PAGE = "https://openrouter.ai/settings/keys"

# Whose key begins like this; the first row that fits.
_VENDORS = (
    ("sk-ant-", "Anthropic"),
    ("sk-proj-", "OpenAI"),
    ("sk-", "OpenAI or one of its like"),
    ("gsk_", "Groq"),
    ("AIza", "Google"),
    ("xai-", "xAI"),
    ("hf_", "Hugging Face"),
    ("pplx-", "Perplexity"),
    ("github_pat_", "GitHub"),
    ("ghp_", "GitHub"),
)


@dataclass(frozen=True, slots=True)
class KeyState:
    """What is known of one endpoint's key.

    `source` is where it is looked for; `accepted` is None where that was not tried; `left` the USD that it may still
    spend, None without a limit; `unanswered`: `GET /key` failed; `usable`: whether calling models makes sense.
    """

    endpoint: str
    source: str | None
    present: bool
    accepted: bool | None = None
    left: float | None = None
    findings: tuple[Finding, ...] = ()
    unanswered: bool = False

    @property
    def usable(self) -> bool:
        return self.accepted is not False and (self.present or self.source is None)


async def key_state(client: FallbackClient, endpoint: str, *, offline: bool, needed: bool) -> KeyState:
    """Look for the key, at its form and, for OpenRouter's, at what `GET /key` says of it."""
    at = client.config.endpoints[endpoint]
    source = "the configuration" if at.api_key is not None else at.api_key_env
    key = _key(at)
    if not key:
        missing = (_missing(endpoint, source, "problem" if needed else "note"),) if source else ()
        return KeyState(endpoint, source, present=False, findings=missing)
    looks = tuple(_looks(endpoint, key, source))
    if offline or endpoint != OPENROUTER:
        return KeyState(endpoint, source, present=True, findings=looks)
    try:
        info = await client.key_info()
    except AuthenticationError as error:
        step = f"Make a key at {_KEYS_PAGE} and put it into {source}."
        refused = Finding("problem", f"key of {endpoint}", said(endpoint, error), step)
        return KeyState(endpoint, source, present=True, accepted=False, findings=(refused, *looks))
    except CatalogError as error:
        unsure = Finding("problem", f"key of {endpoint}", said(endpoint, error), REACH)
        return KeyState(endpoint, source, present=True, findings=(unsure,), unanswered=True)
    left = info.get("limit_remaining")
    left = float(left) if isinstance(left, int | float) else None
    spent: tuple[Finding, ...] = ()
    if left is not None and left <= 0:
        step = f"Raise the limit at {_KEYS_PAGE}, or use free models."
        spent = (Finding("problem", f"key of {endpoint}", "its spending limit is used up", step),)
    return KeyState(endpoint, source, present=True, accepted=True, left=left, findings=spent)


def without_key(config: FallbackConfig) -> tuple[Finding, ...]:
    """The endpoints of the configuration's models whose key is not there: calls of these models fail."""
    names = dict.fromkeys(config.split(id)[0] for id in config.ids())
    sources = {name: config.endpoints[name].api_key_env for name in names if not _key(config.endpoints[name])}
    return tuple(_missing(name, source, "warning") for name, source in sources.items() if source)


def said(endpoint: str, error: FallbackError) -> str:
    """An error's words without the endpoint's name, which stands before them."""
    return str(error).removeprefix(f"{endpoint}: ")


def _key(at: EndpointConfig) -> str:
    if at.api_key is not None:
        return at.api_key.get_secret_value().strip()
    return os.environ.get(at.api_key_env, "").strip() if at.api_key_env else ""


def _missing(endpoint: str, source: str | None, level: Level) -> Finding:
    made = f" with a key from {_KEYS_PAGE}" if endpoint == OPENROUTER else ""
    return Finding(level, f"key of {endpoint}", f"{source} is not set", f"export {source}=...{made}")


def _looks(endpoint: str, key: str, source: str | None) -> Iterator[Finding]:
    if endpoint != OPENROUTER or key.startswith(_OPENROUTER_KEY):
        return
    vendor = next((f": it looks like a key of {name}" for begin, name in _VENDORS if key.startswith(begin)), "")
    text = f"the key in {source} does not begin with {_OPENROUTER_KEY}{vendor}"
    yield Finding("warning", f"key of {endpoint}", text, f"Keys of OpenRouter are made at {_KEYS_PAGE}.")
