"""Turns a checked request into a plan: chooses the model, the provider, the fault and the answer.

This module also imitates OpenRouter's own failover: to the model's next provider, and to the next of the request's
`models`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from .answers import completion
from .answers.completion import Script, Stamp
from .faults.kinds import FAULTS
from .faults.plan import HangUp, Plan, Scene, healthy
from .http.log import Entry
from .models import routing
from .models.bundled import Host
from .models.money import Served
from .models.registry import Model
from .requests import strict
from .requests.history import History
from .requests.refusal import Refused, by_provider
from .requests.validation import conversable
from .state import State

Json = Mapping[str, Any]

_NO_PREFILL = "This model does not support assistant message prefill. The conversation must end with a user message."


class Outcome(NamedTuple):
    """The plan to play, the model and provider that serve the request, and the response of each provider called."""

    plan: Plan
    served: Served | None
    responses: list[dict[str, Any]]


class Dispatch:
    """Makes the plan of each request."""

    def __init__(self, state: State) -> None:
        self._state = state

    def plan(self, entry: Entry, request: dict[str, Any], headers: Json, stamp: Stamp) -> Outcome:
        """The plan of a request. Raises `Refused` if no model may answer the request."""
        wanted = list(dict.fromkeys([request["model"], *(request.get("models") or ())]))
        routed = [routing.known(self._state.models, name) for name in wanted]
        failover = _ProviderFailover(self._state, entry, headers, stamp, wanted)
        for model, name in zip(routed, wanted, strict=True):
            last = name == wanted[-1]
            try:
                outcome = failover.model(model, {**request, "model": name})
            except Refused as refused:
                if last:
                    raise
                failover.failed(model, None, refused.status)
                continue
            if last or not _failed(outcome.plan):
                return outcome
        raise AssertionError("the last model returns or raises")


class _ProviderFailover:
    """One request, and the providers that it has been sent to so far."""

    def __init__(self, state: State, entry: Entry, headers: Json, stamp: Stamp, wanted: Sequence[str]) -> None:
        self._state = state
        self._entry = entry
        self._detailed = headers.get("x-openrouter-metadata", "").lower() == "enabled"
        self._stamp = stamp
        self._wanted = wanted
        self._attempts: list[dict[str, Any]] = []

    def model(self, model: Model, request: dict[str, Any]) -> Outcome:
        """Call the providers of one model in order, until one answers or fails with an error that ends the failover."""
        state = self._state
        tokens = routing.prompt_tokens(request)
        hosts = routing.hosts(model, request, tokens, exact=state.models.exact)
        left = state.account.left
        if left is not None and left <= 0 and model.prices["completion"]:
            raise Refused(402, _NO_CREDITS, {"error_type": "payment_required"})
        silent = self._check_history(request, model, hosts[0])
        conversable(request, hosts[0].name)
        script = state.scripts.get(request["model"]) or state.scripts.get(None) or Script()
        if script.prefill == "refuse" and completion.prefix(request):
            raise by_provider(hosts[0].name, _NO_PREFILL)
        cached, written, keys = state.cache.look_up(model, request, tokens)
        served = Served(model, hosts[0], tokens, cached, written)
        fault = state.schedule.pick(request["model"])
        plan = Plan([])
        for host in hosts:
            if host is not hosts[0]:
                silent = self._check_history(request, model, host)
            served = replace(served, host=host)
            scene = self._scene(request, script, served, hosts)
            fault = fault or state.schedule.pick(request["model"], host.name)
            if fault is not None:
                plan = fault.plan(scene)
            else:
                plan = FAULTS["empty"].plan(scene, FAULTS["empty"].details) if silent else healthy(scene)
            self._entry.fault = None if fault is None else fault.kind
            self._entry.served_by, self._entry.provider = request["model"], host.name
            asked, bad = state.health.get((model.id, host.name), (0, 0))
            state.health[model.id, host.name] = (asked + 1, bad + (fault is not None))
            if not _failed(plan):
                state.cache.remember(keys)
                break
            self.failed(model, host, plan.status)
            # A fault without a provider applies to all providers.
            if fault is None or fault.provider is None or not _next_may_answer(plan):
                break
            fault = None
        return Outcome(plan, served, self._responses(served, plan))

    def _check_history(self, request: dict[str, Any], model: Model, host: Host) -> bool:
        """In strict mode: raise the provider's refusal of the history; True if the model's answer is empty."""
        state = self._state
        if not state.strict:
            return False
        if state.models.listed(model.id):
            routing.sees(model, request)
        history = History(request, model, host, state.api_key)
        refused = strict.refusal(history)
        if refused is not None:
            self._entry.provider = host.name
            raise refused
        return strict.goes_silent(history)

    def failed(self, model: Model, host: Host | None, status: int | None) -> None:
        """Record a provider that did not answer."""
        provider = (host or model.hosts[0]).name
        self._attempts.append({"provider": provider, "model": model.id, "status": status or 502})

    def _scene(self, request: dict[str, Any], script: Script, served: Served, hosts: Sequence[Host]) -> Scene:
        body = completion.answer(request, self._stamp, script, served)
        if self._detailed:
            body["openrouter_metadata"] = self._routing(request, served, hosts)
        pace = self._state.pace(request["model"])
        return Scene(request, body, served, pace.latency, pace.token_interval, self._state.comments)

    def _routing(self, request: Json, served: Served, hosts: Sequence[Host]) -> dict[str, Any]:
        name, provider = served.model.id, served.host.name
        listed = [{"model": name, "provider": host.name, "selected": host == served.host} for host in hosts]
        attempt = len(self._attempts) + 1
        tried = [*self._attempts, {"provider": provider, "model": name, "status": 200}]
        return {
            "requested": self._wanted[0],
            "strategy": _strategy(self._wanted, request["model"]),
            "region": "loopback",
            "summary": f"available={len(hosts)}, selected={provider}",
            "attempt": attempt,
            "is_byok": False,
            "endpoints": {"total": len(served.model.hosts), "available": listed},
            **({"attempts": tried} if self._attempts else {}),
        }

    def _responses(self, served: Served, plan: Plan) -> list[dict[str, Any]]:
        tried = [{"provider_name": one["provider"], "status": one["status"]} for one in self._attempts]
        return tried if _failed(plan) else [*tried, {"provider_name": served.host.name, "status": plan.status}]


_NO_CREDITS = "Insufficient credits. Add more using https://openrouter.ai/settings/credits"
_RETRYABLE = (408, 429)


def _strategy(wanted: Sequence[str], asked: str) -> str:
    if asked != wanted[0]:
        return "fallback"
    return "auto" if asked == "openrouter/auto" else "latest" if asked.startswith("~") else "direct"


def _failed(plan: Plan) -> bool:
    """Whether the plan fails before an answer begins: with an error status, or with a connection closed at once."""
    return (plan.status is None and _hangs_up(plan)) or (plan.status or 0) >= 400


def _next_may_answer(plan: Plan) -> bool:
    return plan.status is None or plan.status >= 500 or plan.status in _RETRYABLE


def _hangs_up(plan: Plan) -> bool:
    return bool(plan.steps) and isinstance(plan.steps[0], HangUp)
