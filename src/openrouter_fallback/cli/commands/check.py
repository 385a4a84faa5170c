"""The command `check`: the key, the models and their answers, and what the chains cost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from ... import CatalogError, FallbackClient, FallbackError, ModelInfo
from ..analysis.audit import LEVELS, OPENROUTER, Chain, Finding, Level, chains, expiry, misfits
from ..analysis.costs import ChainCost, Load, chain_cost
from ..analysis.successors import replacement
from ..credentials import ONLINE_ONCE, REACH, KeyState, key_state, said

_AT_ONCE = 8
_PROMPT = "Answer with one word: ready"
_MAX_TOKENS = 16  # the least that every provider takes
_NEXT_STEP = "Next step: "
_OF_ENDPOINT = frozenset({"connection", "timed_out", "unavailable"})
"""Kinds of failure that say nothing of a model if all models of its endpoint fail."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the check may do and assume; `needs` of every model; `timeout` in seconds per model."""

    offline: bool = False
    calls: bool = True
    needs: tuple[str, ...] = ()
    timeout: float = 60.0
    load: Load = field(default_factory=Load)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a call to a model: seconds, USD; without an answer, the error in one line and what to do.

    `kind`: the kind of the last failure, None if the model answered or was not called.
    """

    seconds: float
    cost: float | None = None
    error: str | None = None
    step: str = ""
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class CheckedModel:
    """A model of the configuration. `listed`: whether its endpoint lists it, None if its list is not known."""

    id: str
    chains: tuple[str, ...]
    listed: bool | None
    info: ModelInfo | None
    answer: Answer | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class ModelList:
    """How many models an endpoint lists, and since when that is known; None: it is not."""

    endpoint: str
    count: int
    fetched: datetime | None


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found out."""

    keys: tuple[KeyState, ...]
    lists: tuple[ModelList, ...]
    models: tuple[CheckedModel, ...]
    costs: tuple[tuple[Chain, ChainCost], ...]
    load: Load
    findings: tuple[Finding, ...]

    def passed(self, *, strict: bool) -> bool:
        """Whether there is no problem; with `strict` no warning either."""
        failing = ("problem", "warning") if strict else ("problem",)
        return not any(finding.level in failing for finding in self.findings)


async def check(
    client: FallbackClient, wishes: Wishes, today: date, told: Callable[[int, int], object] = lambda done, of: None
) -> Report:
    """Look at everything; `told` is called with the number of models that were called, and of all."""
    config, catalog = client.config, client.catalog
    ids = config.ids()
    calls = wishes.calls and not wishes.offline
    endpoints = tuple(dict.fromkeys(config.split(id)[0] for id in ids))
    async with client:
        keys = [await key_state(client, name, offline=wishes.offline, needed=calls) for name in endpoints]
        keyless = {key.endpoint for key in keys if key.source and not key.present} - {OPENROUTER}
        there = [name for name in endpoints if name not in keyless]  # that a key is missing is said once
        unlisted = _unlisted(client, endpoints) if wishes.offline else await _refresh(client, there)
        usable = {key.endpoint for key in keys if key.usable}
        called = [id for id in ids if calls and config.split(id)[0] in usable]
        answers = await _call_all(client, called, wishes.timeout, told)
    known = chains(config)
    models = tuple(_examined(client, id, known, wishes.needs, answers.get(id), today) for id in ids)
    return Report(
        keys=tuple(keys),
        lists=tuple(ModelList(name, len(catalog.models(name)), catalog.fetched(name)) for name in endpoints),
        models=models,
        costs=tuple((chain, chain_cost(chain.models, catalog.get, wishes.load)) for chain in known),
        load=wishes.load,
        findings=tuple(sorted(_found(client, keys, unlisted, models), key=lambda one: LEVELS.index(one.level))),
    )


def _found(
    client: FallbackClient, keys: Sequence[KeyState], unlisted: Mapping[str, Finding], models: Sequence[CheckedModel]
) -> Iterator[Finding]:
    """All findings. Those of an endpoint that answers nothing have one cause, so they are one."""
    silent: set[str] = set()
    said: set[tuple[str, str | None]] = set()
    for key in keys:
        own = [one for one in models if client.config.split(one.id)[0] == key.endpoint]
        if (one := _silent(key, unlisted.get(key.endpoint), own)) is not None:
            silent.add(key.endpoint)
            said |= {(model.id, model.answer.error) for model in own if model.answer is not None}
            yield one
    yield from (one for key in keys if key.endpoint not in silent for one in key.findings)
    yield from (one for endpoint, one in unlisted.items() if endpoint not in silent)
    yield from (one for model in models for one in model.findings if (model.id, one.text) not in said)


def _silent(key: KeyState, unlisted: Finding | None, own: Sequence[CheckedModel]) -> Finding | None:
    """The one problem of an endpoint of which nothing answered: not the key, not the list, no model. None: another."""
    answers = [one.answer for one in own if one.answer is not None]
    if unlisted is None or key.accepted is not None or not (answers or key.unanswered):
        return None
    if any(answer.kind not in _OF_ENDPOINT for answer in answers):
        return None
    error = answers[0].error if answers else unlisted.text
    step = answers[0].step if answers else unlisted.step
    return Finding("problem", key.endpoint, f"the endpoint does not answer: {error}", step)


def _unlisted(client: FallbackClient, endpoints: Sequence[str]) -> dict[str, Finding]:
    """Endpoints of whose models no list is kept on this machine."""
    unknown = [name for name in endpoints if client.catalog.fetched(name) is None]
    text = "no list of them is stored on this machine, so the check does not know which of them exist"
    return {name: Finding("note", f"models of {name}", text, ONLINE_ONCE) for name in unknown}


async def _refresh(client: FallbackClient, endpoints: Sequence[str]) -> dict[str, Finding]:
    """Get the lists of models anew. On other servers than OpenRouter they need not be there."""
    found = {}
    for name in endpoints:
        try:
            await client.catalog.refresh(name)
        except CatalogError as error:
            level: Level = "problem" if name == OPENROUTER else "warning"
            found[name] = Finding(level, f"models of {name}", said(name, error), REACH)
    return found


async def _call_all(
    client: FallbackClient, ids: Sequence[str], longest: float, told: Callable[[int, int], object]
) -> dict[str, Answer]:
    """Call each model, some at a time."""
    places = asyncio.Semaphore(_AT_ONCE)
    answers: dict[str, Answer] = {}

    async def call(id: str) -> None:
        async with places:
            answers[id] = await _call(client, id, longest)
        told(len(answers), len(ids))

    if ids:
        told(0, len(ids))
    async with asyncio.TaskGroup() as group:
        for id in ids:
            group.create_task(call(id))
    return answers


async def _call(client: FallbackClient, id: str, longest: float) -> Answer:
    """One tiny question, tried as often as the configuration says."""
    try:
        answer = await client.achat(_PROMPT, models=[id], max_tokens=_MAX_TOKENS, total_timeout=longest)
    except FallbackError as error:
        seconds = sum(attempt.seconds for attempt in error.attempts)
        steps = [line.removeprefix(_NEXT_STEP) for line in str(error).splitlines() if line.startswith(_NEXT_STEP)]
        last = error.attempts[-1] if error.attempts else None
        if last is None or last.kind is None:
            return Answer(seconds, None, str(error).partition("\n")[0], " ".join(steps))
        status = f" {last.status}" if last.status is not None else ""
        return Answer(seconds, None, f"{last.kind}{status}: {last.message}", " ".join(steps), last.kind)
    return Answer(answer.seconds, answer.cost)


def _examined(
    client: FallbackClient, id: str, known: Sequence[Chain], needs: Sequence[str], answer: Answer | None, today: date
) -> CheckedModel:
    """A model with all that is known of it."""
    config, catalog = client.config, client.catalog
    endpoint, model = config.split(id)
    info = catalog.get(id)
    there = {one.id for one in catalog.models(endpoint)}
    living = [one for one in catalog.models(endpoint) if expiry(one, today) is None]
    found: list[Finding] = []
    going = expiry(info, today) if info is not None else None
    if going is not None:
        found.append(Finding(going[0], id, going[1], replacement(endpoint, model, living)))
    gone = info is None and bool(there)
    if gone and (answer is None or answer.error is not None):
        tried = f" ({answer.error.partition(':')[0]})" if answer is not None and answer.error is not None else ""
        found.append(Finding("problem", id, f"does not exist{tried}", replacement(endpoint, model, living)))
    elif gone:
        text = f"it answers, although {endpoint} does not list it: it may be withdrawn soon"
        found.append(Finding("warning", id, text, replacement(endpoint, model, living)))
    elif answer is not None and answer.error is not None:
        found.append(Finding("problem", id, answer.error, answer.step))
    if info is not None:
        found += misfits(id, info, known, needs, config.model(id).params)
    used = tuple(chain.name for chain in known if id in chain.models)
    return CheckedModel(id, used, bool(info) if there else None, info, answer, tuple(found))
