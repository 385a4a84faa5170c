"""Turns a call's arguments into its runner: the models that the call may use, and their keys."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..catalog.catalog import Catalog
from ..catalog.prices import price
from ..catalog.refresh import Refresh
from ..config.models import FallbackConfig
from ..decision.commands import Hedging, Limits
from ..decision.timeouts import Timeouts
from ..endpoints.destinations import Destination, Destinations
from ..endpoints.keys import KeyRing, Keys
from ..errors import AuthenticationError, ConfigError
from ..health import HealthStore
from ..redaction import Redactor
from ..request.handover import loop_models
from ..request.request import Request
from ..results import Completion, Route, Skipped
from ..routes.candidate import Candidate, Plan
from ..routes.choice import Choice
from ..routes.router import First, Router
from ..suggest import did_you_mean
from .arguments import CallArguments
from .runner import CallRunner
from .runtime import Call, CallbackHost, Runtime

_NO_KEY = "no API key"


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans the calls of one client. Uses the router, the keys and the addresses; the runner gets only the plan."""

    config: FallbackConfig
    runtime: Runtime
    router: Router
    keys: Keys
    destinations: Destinations
    catalog: Catalog
    refresh: Refresh
    store: HealthStore | None
    hedging: Hedging | None

    async def keys_within(self, limits: Limits) -> tuple[KeyRing, Limits]:
        """The keys of an async call, and its deadlines from now on: a function that gives the key takes time, too."""
        begun = self.runtime.clock()
        ring = await self.keys.aring(limits.total)
        passed = self.runtime.clock() - begun
        return ring, limits if passed < 0.001 else replace(limits, total=max(0.0, limits.total - passed))

    async def answer(self, arguments: CallArguments, limits: Limits, host: CallbackHost, ring: KeyRing) -> Completion:
        """Run a call until its complete answer. Raises a `FallbackError`."""
        runner = await self.begin(arguments, limits, host, ring, deliver=False)
        await runner.advance()
        if runner.outcome.completion is None:
            raise RuntimeError("the call ended without an answer and without an error")
        return runner.outcome.completion

    async def begin(
        self, arguments: CallArguments, limits: Limits, host: CallbackHost, ring: KeyRing, *, deliver: bool
    ) -> CallRunner:
        """The runner of a call. Waits only if no model can be called without the catalog's prices."""
        if self.store is not None:
            self.store.touch()
        plan = self.plan(arguments.choice, ring, arguments.request)
        begun, priceless = self.runtime.clock(), self._lacks_prices(plan)
        look = self.refresh.next_look
        if priceless or look is None or begun >= look:
            self.refresh.soon(begun, needed=priceless)
        if priceless and await self.refresh.looked(limits.total / 2):
            plan = self.plan(arguments.choice, ring, arguments.request)
            limits = replace(limits, total=max(0.0, limits.total - (self.runtime.clock() - begun)))

        def destination(candidate: Candidate) -> Destination:
            return self.destinations.destination(candidate, ring, arguments.headers)

        request = arguments.request
        secrets = ring.secrets(self.destinations.secrets(arguments.headers))
        redactor = Redactor(secrets, request.texts, self.runtime.quoteless)
        call = Call(request, plan, limits, destination, host, ring.hint, arguments.accept, redactor)
        return CallRunner(self.runtime, call, deliver=deliver)

    def plan(self, choice: Choice, ring: KeyRing, request: Request) -> Plan:
        """The candidates of a call in order, and the models that it skips. Raises `AuthenticationError`."""
        now, needs = self.runtime.clock(), request.needs
        plan = self.router.plan(choice, now, ring.accounts, needs)
        request.delivered = self.runtime.delivered
        first = self._first(request, now)
        if first is not None:
            plan = self.router.with_first(plan, first, now, needs, ring.missing)
        if not ring.missing:
            return plan
        kept = tuple(c for c in plan.candidates if c.target.endpoint not in ring.missing)
        if not kept and plan.candidates:
            raise AuthenticationError(self.keys.no_key(plan.candidates[0].target.endpoint))
        keyless = [Skipped(c.key, _NO_KEY) for c in plan.candidates if c.target.endpoint in ring.missing]
        return replace(plan, candidates=kept, excluded=(*plan.excluded, *keyless))

    def _first(self, request: Request, now: float) -> First | None:
        """The model that is called first: the model that began the tool loop, else the session's current model."""
        loop = loop_models(request.history, self.runtime.delivered)
        if loop:
            return First(loop, "its tool calls are answered")
        stick_to = self.runtime.stick_to
        session = request.session(stick_to)
        stay = None if session is None else self.runtime.sticking.stay(session, now)
        if stay is None:
            return None
        return First((stay.model,), f"this {stick_to} failed over to it, for {stay.until - now:.0f} s more")

    def route(self, choice: Choice, request: Request) -> Route:
        """What `plan` would give now, with the reason of every skipped model. Calls nothing, asks no key function."""
        now, accounts, missing = self.runtime.clock(), self.keys.accounts(), self.keys.missing()
        first = self._first(request, now)
        candidates = self.router.plan(choice, now, accounts, request.needs).candidates
        if all(candidate.target.endpoint in missing for candidate in candidates):
            missing = frozenset()  # without any key, the route of a client that has one
        route = self.router.route(choice, now, accounts, request.needs, first, missing)
        keyless = [key for key in route.candidates if self.config.split(key)[0] in missing]
        asked = tuple(key for key in route.candidates if key not in keyless)
        timing = Timeouts(self.limits(None, None, None, deliver=False), request.traits, self.runtime.health)
        learnt = {candidate.key: timing.learnt(candidate, now) for candidate in candidates}
        return replace(
            route,
            candidates=asked,
            skipped=(*route.skipped, *(Skipped(key, _NO_KEY) for key in keyless)),
            first_token_overdue={key: learnt[key] for key in asked if learnt[key] < math.inf},
        )

    def limits(
        self, timeout: float | None, stall_timeout: float | None, total_timeout: float | None, *, deliver: bool
    ) -> Limits:
        """The deadlines of a call in seconds: arguments override settings. Raises `ConfigError`."""
        settings = self.config.settings
        given = {"timeout": timeout, "stall_timeout": stall_timeout, "total_timeout": total_timeout}
        for name, value in given.items():
            if value is not None and not (isinstance(value, int | float) and 0 < value < float("inf")):
                raise ConfigError(f"{name}={value!r} is not a number of seconds above 0")
        return Limits(
            total=settings.total_timeout_seconds if total_timeout is None else float(total_timeout),
            wall_clock=not deliver or total_timeout is not None,
            whole=not deliver,
            first_token=timeout,
            stall=settings.stall_timeout_seconds if stall_timeout is None else float(stall_timeout),
            attempt=settings.attempt_timeout_seconds,
            hedge=self.hedging,
        )

    def candidate(self, model: str, own: Iterable[str]) -> Candidate:
        """The candidate for `model`: an id of the configuration, of `own`, or of a call's arguments.

        Raises `ConfigError` for an id that no call of this client could use.
        """
        ids = (*self.config.ids(), *own)
        if model not in ids and not self.router.has_seen(model):
            problem = self.config.id_problem(model)
            if problem is not None:
                raise ConfigError(f"{problem}{'' if 'Did you mean' in problem else did_you_mean(model, ids)}")
            raise ConfigError(
                f"{model!r} is in no chain of this client.{did_you_mean(model, ids)} A model that only calls name by "
                f"models= is known after the first of them, or to a copy: client.with_options(models=[{model!r}])."
            )
        return self.router.candidate(model, self.keys.accounts())

    def _lacks_prices(self, plan: Plan) -> bool:
        """Whether no model can be called, but the catalog's prices may change that."""
        if plan.candidates:
            return self.runtime.ledger.limited and all(price(candidate.info) is None for candidate in plan.candidates)
        return any(price(self.catalog.get(skipped.model)) is None for skipped in plan.excluded)
