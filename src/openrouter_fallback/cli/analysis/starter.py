"""The command `init`: chains of models that exist today, as a commented YAML file. Pure but for `write`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

from ... import ConfigError, ModelInfo
from .costs import Load, per_million, per_thousand, usd
from .listing import provider
from .successors import name, newest_first

PER_CHAIN = 3
_LEAST_CONTEXT = 32_000
_LEAST_DAYS = 180  # that a model must have left, if it is to go at all
_DEAREST = Decimal(40)  # USD per 1,000 usual calls; dearer models are a choice of their own
_USUAL = Load()
_PASSING = ("preview", "-exp", "beta", "experimental")

# What each chain is made of: families (the newest model of each is taken, one per provider), in order; and what 1,000
# calls of it may cost about, by which other models are chosen where the families are not there.
_CHAINS: Mapping[str, tuple[tuple[str, ...], Decimal]] = {
    "default": (
        ("anthropic/claude-sonnet", "openai/gpt", "google/gemini-pro", "deepseek/deepseek", "meta-llama/llama"),
        Decimal(5),
    ),
    "coding": (
        ("anthropic/claude-sonnet", "openai/gpt-codex", "openai/gpt", "deepseek/deepseek", "qwen/qwen-coder"),
        Decimal(5),
    ),
    "creative": (
        ("anthropic/claude-opus", "moonshotai/kimi-k", "openai/gpt", "google/gemini-pro", "mistralai/mistral-large"),
        Decimal(8),
    ),
    "fast": (
        ("google/gemini-flash", "openai/gpt-mini", "anthropic/claude-haiku", "mistralai/mistral-small"),
        Decimal(1),
    ),
}
# As `cost_tiers: auto` has them: USD per million tokens at most, three parts prompt to one part completion.
_TIERS = (("budget", Decimal(2)), ("standard", Decimal(8)), ("premium", None))
_MILLION_TOKENS = Load(prompt_tokens=750, completion_tokens=250)  # of 1,000 calls


@dataclass(frozen=True, slots=True)
class Starter:
    """Chains by task (`default` first) and by tier (the cheapest first)."""

    tasks: Mapping[str, tuple[ModelInfo, ...]]
    tiers: Mapping[str, tuple[ModelInfo, ...]]

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """All of them, each once."""
        return tuple({model.id: model for chain in self.tasks.values() for model in chain}.values())


def choose(models: Iterable[ModelInfo], today: date) -> Starter:
    """Chains of living models at a sound price, of different providers. Raises `ConfigError` if there are none."""
    sound = [model for model in models if _sound(model, today)]
    if not sound:
        raise ConfigError("the list has no model with a known price that can call tools and does not expire soon")
    tasks = {task: _chain(sound, families, about) for task, (families, about) in _CHAINS.items()}
    starter = Starter(tasks, {})
    tiers: dict[str, list[ModelInfo]] = {}
    for model in sorted(starter.models, key=_cost):
        tiers.setdefault(_tier(model), []).append(model)
    return Starter(tasks, {tier: tuple(chain) for tier, chain in tiers.items()})


def _sound(model: ModelInfo, today: date) -> bool:
    return (
        "/" in model.id
        and not model.id.startswith(("~", "openrouter/"))
        and ":" not in model.id
        and not any(word in model.id for word in _PASSING)
        and bool(model.can("tools"))
        and (model.context_length or 0) >= _LEAST_CONTEXT
        and (model.expires is None or (model.expires - today).days > _LEAST_DAYS)
        and bool(model.prompt_price and model.completion_price)
        and _cost(model) <= _DEAREST
    )


def _chain(sound: Sequence[ModelInfo], families: Sequence[str], about: Decimal) -> tuple[ModelInfo, ...]:
    """One model per provider: of the families, then those whose price is nearest to `about`."""
    chain: list[ModelInfo] = []
    others = sorted(sound, key=lambda model: (abs(_cost(model) - about), model.id))
    for group in (*(_family(sound, family) for family in families), others):
        for model in group:
            if len(chain) < PER_CHAIN and provider(model.id) not in {provider(one.id) for one in chain}:
                chain.append(model)
    return tuple(chain)


def _family(sound: Sequence[ModelInfo], family: str) -> list[ModelInfo]:
    """The models of a family, the newest first."""
    wanted = name(family)
    found = [one for one in sound if (name(one.id).author, name(one.id).words) == (wanted.author, wanted.words)]
    return sorted(found, key=lambda one: newest_first(one.id))


def _cost(model: ModelInfo) -> Decimal:
    return per_thousand(model, _USUAL) or Decimal(0)


def _tier(model: ModelInfo) -> str:
    price = per_thousand(model, _MILLION_TOKENS) or Decimal(0)
    return next(tier for tier, most in _TIERS if most is None or price <= most)


def as_yaml(starter: Starter, file: Path, today: date) -> str:
    """The file's text."""
    tasks = [f"    {task}:\n{_listed(chain, 6)}" for task, chain in starter.tasks.items() if task != "default"]
    tiers = [f"    {tier}:\n{_listed(chain, 6)}" for tier, chain in starter.tiers.items()]
    return _TEMPLATE.format(
        today=today,
        file=file,
        default=_listed(starter.tasks["default"], 4),
        tasks="\n".join(tasks),
        tiers="\n".join(tiers),
        example=starter.models[0].id,
    )


def _listed(chain: Sequence[ModelInfo], indent: int) -> str:
    return "\n".join(f"{' ' * indent}- {model.id:<{43 - indent}} # {_prices(model)}" for model in chain)


def _prices(model: ModelInfo) -> str:
    return f"{usd(per_million(model.prompt_price))} in, {usd(per_million(model.completion_price))} out"


def write(file: Path, text: str, *, force: bool) -> None:
    """Write a whole file or none. Raises `ConfigError` if it exists, unless forced, or cannot be written."""
    made = file.with_name(f".{file.name}.{os.getpid()}") if force else file
    try:
        with made.open("w" if force else "x", encoding="utf-8") as new, _gone_if_not_whole(made):
            new.write(text)
            new.flush()
        made.replace(file)
    except FileExistsError:
        raise ConfigError(f"{file} exists already; --force overwrites it, or name another file") from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}") from None


@contextmanager
def _gone_if_not_whole(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError:
        file.unlink()
        raise


_TEMPLATE = """\
# Written by `openrouter-fallback init` on {today}, from the models that existed then; change what you like.
#
#   openrouter-fallback check --config {file}           is all of it right, and does every model answer?
#   openrouter-fallback route --config {file}           which models would be called, in which order?
#   openrouter-fallback chat "Hello" --config {file}    make a call
#   openrouter-fallback drill --config {file}           rehearse outages, without a key
#
# In Python: FallbackClient.from_config("{file}"). The key comes from OPENROUTER_API_KEY.
# Prices are USD per million tokens.
fallback:
  default_chain:                              # called in this order: when a model fails, the next one is called
{default}

  task_chains:                                # chosen with task="coding" or --task coding
{tasks}

  cost_tiers:                                 # max_cost_tier="standard": budget, then standard; or auto: by price
{tiers}

  # models:                                   # settings of single models
  #   {example}:
  #     timeout: 60                           # seconds to the first token
  #     params: {{temperature: 0.2}}            # of every request to it; those of the call come first

  # endpoints:                                # other OpenAI-compatible servers, used in chains as groq:...
  #   groq: {{base_url: "https://api.groq.com/openai/v1", api_key_env: GROQ_API_KEY}}

  settings:
    max_retries_per_model: 2                  # attempts per model and call, the first one included
    disable_duration_seconds: 300             # the longest that a circuit is open
    health_window_minutes: 10                 # how far back its health looks
    skip_threshold: 0.3                       # the success rate below which a circuit opens ...
    min_samples: 3                            # ... once there are this many calls
    total_timeout_seconds: 300                # the longest a call waits for its answer in all
    # first_token_timeout_seconds: 30         # the longest for the first token of one attempt
    # order_by: health                        # instead of the order above: health, latency or price
    # mid_stream: raise                       # when a model fails in mid-answer; default: the next one continues
    # on_failure: {{content_policy: next}}      # call the next model when one refuses the content
"""
