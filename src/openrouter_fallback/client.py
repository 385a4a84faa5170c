"""The plain client: calls a chain of models and fails over between them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self

from .argument_names import refuses_others
from .call.arguments import InlineCallbacks
from .call.portal import SyncBridge, portal
from .call.runner import CallRunner
from .call.runtime import Accept
from .catalog.catalog import Catalog
from .catalog.prices import MaxPrice
from .composition import compose, instrument
from .config.models import OPENROUTER, FallbackConfig, ModelConfig, Settings
from .config.resolve import resolve_config
from .endpoints.api import key_info
from .endpoints.keys import KEYS_PAGE, ApiKey
from .errors import AuthenticationError, ConfigError
from .events import NO_CALL, Events, Subscriber
from .health import ModelHealth
from .request.request import Messages, Request
from .results import Completion, Route
from .routes.candidate import Candidate
from .routes.choice import Choice, in_context
from .sealed import bare, sealed, sealed_headers
from .signatures import call_itself
from .spending.ledger import Spend
from .streams import AsyncStream, Stream
from .suggest import no_attribute


class FallbackClient:
    """A chain of models behind one client.

    Give `models` (ids or `ModelConfig`, in order) or `config` (a `FallbackConfig`, a YAML path or a mapping). Without
    either, the client reads the file that `OPENROUTER_FALLBACK_CONFIG` names. `api_key` defaults to
    `OPENROUTER_API_KEY`, `base_url` to `OPENROUTER_BASE_URL` and then to OpenRouter. `app_url` and `app_title`
    attribute the traffic on OpenRouter. Threads and event loops may share a client. Raises `ConfigError`.
    """

    @refuses_others("client")
    def __init__(
        self,
        models: Sequence[str | ModelConfig] | None = None,
        *,
        config: FallbackConfig | str | os.PathLike[str] | Mapping[str, Any] | None = None,
        base_url: str | None = None,
        api_key: ApiKey | None = None,
        settings: Settings | Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        app_url: str | None = None,
        app_title: str | None = None,
    ) -> None:
        api_key, headers = sealed(api_key), sealed_headers(headers)  # a traceback may show this frame
        self.config = resolve_config(models, config, base_url, settings)
        self._parts = compose(self.config, api_key, headers, app_url, app_title)
        self._events = self._parts.events
        self._defaults = Choice()
        if self.config.settings.opentelemetry:
            self.instrument()

    @classmethod
    def from_config(
        cls,
        path: str | os.PathLike[str] | Mapping[str, Any],
        *,
        task: str | None = None,
        max_cost_tier: str | None = None,
        primary_provider: str | None = None,
        max_price: MaxPrice | None = None,
        **options: Any,
    ) -> Self:
        """Build a client from a YAML file or a mapping. The routing given here is the default of all its calls."""
        outer = sys.exception()
        try:
            client = cls(config=path, **options)
        except ConfigError as error:
            del path, options
            raise bare(error, outer)  # noqa: B904 - the same error
        return client.with_options(
            task=task, max_cost_tier=max_cost_tier, primary_provider=primary_provider, max_price=max_price
        )

    @refuses_others("copy")
    def with_options(
        self,
        *,
        task: str | None = None,
        max_cost_tier: str | None = None,
        primary_provider: str | None = None,
        models: Sequence[str | ModelConfig] | None = None,
        max_price: MaxPrice | None = None,
        on_event: Subscriber | None = None,
    ) -> Self:
        """A copy of the client with another default routing. The copy shares health and connections with the client.

        `on_event` is called with every event of the calls made through the copy.
        """
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        if on_event is not None:
            copy._events = Events(self._events)
            copy._events.subscribe(on_event)
        choice = Choice.of(task, max_cost_tier, primary_provider, models, max_price)
        copy._defaults = choice.over(self._defaults)
        return copy

    # Calls

    @call_itself
    def chat(
        self,
        messages: Messages,
        *,
        task: str | None = None,
        max_cost_tier: str | None = None,
        primary_provider: str | None = None,
        models: Sequence[str | ModelConfig] | None = None,
        max_price: MaxPrice | None = None,
        accept: Accept | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        stall_timeout: float | None = None,
        total_timeout: float | None = None,
        idempotent: bool = True,
        thread_id: str | None = None,
        **params: Any,
    ) -> Completion:
        """Call the models in order and return one complete answer.

        `messages` is a prompt or a list of OpenAI messages. `params` are parameters of OpenAI and OpenRouter (tools,
        response_format, temperature, reasoning, provider ...), sent unchanged. `max_price` is the highest price that a
        model may have, in USD per million tokens: one number for prompt and completion, or
        `{"prompt": 1, "completion": 5}`. A model of unknown price is skipped. `accept` receives the completion; if
        `accept` returns False, the call moves to the next model. In seconds: `timeout` limits the time to the first
        token of one attempt, `stall_timeout` the time between two tokens, `total_timeout` the whole call.
        `idempotent=False`: never call two models at once. `thread_id` is the key of `stick_to: thread`, and is not
        sent. Raises a `FallbackError`.
        """
        choice = self._choice(task, max_cost_tier, primary_provider, models, max_price)
        headers = sealed_headers(headers) if headers else headers
        asked = self._parts.arguments(
            messages, choice, accept, headers, params, idempotent=idempotent, thread_id=thread_id
        )
        limits = self._parts.planner.limits(timeout, stall_timeout, total_timeout, deliver=False)
        bridge = SyncBridge(self._events)
        ring = self._parts.keys.ring()
        return bridge.run(lambda: self._parts.planner.answer(asked, limits, bridge, ring))

    async def achat(
        self,
        messages: Messages,
        *,
        task: str | None = None,
        max_cost_tier: str | None = None,
        primary_provider: str | None = None,
        models: Sequence[str | ModelConfig] | None = None,
        max_price: MaxPrice | None = None,
        accept: Accept | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the seconds to the first token, not of the call
        stall_timeout: float | None = None,
        total_timeout: float | None = None,
        idempotent: bool = True,
        thread_id: str | None = None,
        **params: Any,
    ) -> Completion:
        """`chat` for async callers; `accept` may be a coroutine function."""
        choice = self._choice(task, max_cost_tier, primary_provider, models, max_price)
        headers = sealed_headers(headers) if headers else headers
        asked = self._parts.arguments(
            messages, choice, accept, headers, params, idempotent=idempotent, thread_id=thread_id
        )
        limits = self._parts.planner.limits(timeout, stall_timeout, total_timeout, deliver=False)
        ring, limits = await self._parts.planner.keys_within(limits)
        return await self._parts.planner.answer(asked, limits, InlineCallbacks(self._events), ring)

    def stream(
        self,
        messages: Messages,
        *,
        task: str | None = None,
        max_cost_tier: str | None = None,
        primary_provider: str | None = None,
        models: Sequence[str | ModelConfig] | None = None,
        max_price: MaxPrice | None = None,
        accept: Accept | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        stall_timeout: float | None = None,
        total_timeout: float | None = None,
        idempotent: bool = True,
        thread_id: str | None = None,
        mid_stream: Literal["continue", "raise"] | None = None,
        **params: Any,
    ) -> Stream:
        """Call the models in order and stream the answer piece by piece; arguments as in `chat`.

        Failover is invisible until the first text is delivered. Afterwards the next model continues the delivered text
        (`mid_stream="continue"`), or the stream raises `StreamInterruptedError` with the text (`"raise"`, or if no
        model can continue the text). `accept` is called only if nothing was delivered yet.
        """
        choice = self._choice(task, max_cost_tier, primary_provider, models, max_price)
        headers = sealed_headers(headers) if headers else headers
        goes_on = self._goes_on(mid_stream)
        asked = self._parts.arguments(
            messages, choice, accept, headers, params, goes_on, idempotent=idempotent, thread_id=thread_id
        )
        limits = self._parts.planner.limits(timeout, stall_timeout, total_timeout, deliver=True)
        bridge = SyncBridge(self._events)
        ring = self._parts.keys.ring()

        async def start() -> CallRunner:
            return await self._parts.planner.begin(asked, limits, bridge, ring, deliver=True)

        return Stream(bridge, start)

    def astream(
        self,
        messages: Messages,
        *,
        task: str | None = None,
        max_cost_tier: str | None = None,
        primary_provider: str | None = None,
        models: Sequence[str | ModelConfig] | None = None,
        max_price: MaxPrice | None = None,
        accept: Accept | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        stall_timeout: float | None = None,
        total_timeout: float | None = None,
        idempotent: bool = True,
        thread_id: str | None = None,
        mid_stream: Literal["continue", "raise"] | None = None,
        **params: Any,
    ) -> AsyncStream:
        """`stream` for async callers: `async for piece in client.astream(...)`."""
        choice = self._choice(task, max_cost_tier, primary_provider, models, max_price)
        headers = sealed_headers(headers) if headers else headers
        goes_on = self._goes_on(mid_stream)
        asked = self._parts.arguments(
            messages, choice, accept, headers, params, goes_on, idempotent=idempotent, thread_id=thread_id
        )
        limits = self._parts.planner.limits(timeout, stall_timeout, total_timeout, deliver=True)

        async def start() -> CallRunner:
            ring, left = await self._parts.planner.keys_within(limits)
            return await self._parts.planner.begin(asked, left, InlineCallbacks(self._events), ring, deliver=True)

        return AsyncStream(start)

    # Inspection and control

    @property
    def catalog(self) -> Catalog:
        """The known prices, context lengths and capabilities of the endpoints' models."""
        return self._parts.catalog

    def refresh_catalog(self) -> None:
        """Fetch the endpoints' lists of models now. Async callers use `await client.catalog.refresh()`.

        Raises `CatalogError`, which names each endpoint whose list could not be fetched.
        """
        SyncBridge(self._events).run(self.catalog.refresh)

    async def key_info(self) -> Mapping[str, Any]:
        """Fetch OpenRouter's data on the key: `limit_remaining` and `usage` in USD, `is_free_tier`, `expires_at` ...

        Raises `AuthenticationError` if the key is missing or not accepted, `CatalogError` if OpenRouter gives no data.
        """
        ring = await self._parts.keys.aring()
        if OPENROUTER in ring.missing:
            raise AuthenticationError(self._parts.keys.no_key(OPENROUTER))
        try:
            return await key_info(self._parts.transport, self._parts.destinations.key(ring))
        except AuthenticationError as error:
            error.add_note(f"{KEYS_PAGE} {ring.hint(OPENROUTER)}")
            raise

    def route(
        self,
        *,
        task: str | None = None,
        max_cost_tier: str | None = None,
        primary_provider: str | None = None,
        models: Sequence[str | ModelConfig] | None = None,
        max_price: MaxPrice | None = None,
        messages: Messages | None = None,
        thread_id: str | None = None,
        **params: Any,
    ) -> Route:
        """The candidates of a call made now, in order, and each skipped model with its reason. Calls no model.

        If no candidate is left, a call still tries the models that are skipped for their health or for a need.
        Give the `messages` and parameters (`tools`, `session_id` ...) of a call to include its needs.
        """
        choice = self._choice(task, max_cost_tier, primary_provider, models, max_price)
        return self._parts.planner.route(
            choice, Request(" " if messages is None else messages, params, thread_id=thread_id)
        )

    def available(self, **routing: Any) -> tuple[str, ...]:
        """The models that a call with this routing may use now, in order."""
        return self.route(**routing).candidates

    def chain(self, **routing: Any) -> tuple[str, ...]:
        """All models that a call with this routing may use, in order, regardless of their health."""
        plan = self._parts.router.plan(
            self._choice(**routing), self._parts.runtime.clock(), self._parts.keys.accounts()
        )
        return tuple(candidate.key for candidate in plan.candidates)

    def health(self, *, refresh: bool = False) -> dict[str, ModelHealth]:
        """A snapshot of every configured model: breaker state, success rate, counts, latencies, remaining cooldown.

        With shared health the counts are those of the fleet. `refresh` reads the store now instead of about once a
        second, and raises `ConnectionError` if the store does not answer.
        """
        store = self._parts.store
        if store is not None and refresh and not SyncBridge(self._events).run(store.exchange):
            raise ConnectionError(f"the health store does not answer: Redis at {store.address}; the log says why")
        now = self._parts.runtime.clock()
        router, health, accounts = self._parts.router, self._parts.runtime.health, self._parts.keys.accounts()
        return {key: health.snapshot(router.candidate(key, accounts).target, now) for key in self.config.ids()}

    def spend(self) -> Spend:
        """Today's spend of this client (UTC), the most that its active calls may still cost, and the limits, in USD.

        With shared health a limit per day holds for the whole fleet. The fleet may exceed the limit by the amount that
        its processes spend between two syncs with the store.
        """
        return self._parts.runtime.ledger.spend()

    def disable(self, model: str, seconds: float | None = None) -> None:
        """Skip `model` for `seconds` (default: its disable_duration), regardless of its health."""
        target = self._candidate(model).target
        runtime = self._parts.runtime
        runtime.health.disable(target, runtime.clock() + (target.longest_open if seconds is None else seconds))

    def enable(self, model: str) -> None:
        """Undo `disable`, close the model's breaker and end its cooldowns."""
        self._parts.runtime.health.enable(self._candidate(model).target)
        self._report_breakers()

    def reset(self, model: str | None = None) -> None:
        """Delete the learnt health of `model`, or of all models, endpoints and keys."""
        if model is None:
            self._parts.runtime.health.reset()
        else:
            self._parts.runtime.health.forget(self._candidate(model).target)
        self._report_breakers()

    def _report_breakers(self) -> None:
        """Report the changes of circuit breakers that were made by hand."""
        for event in self._parts.runtime.breaker_events():
            if self._parts.events.observed:
                self._parts.events.observe(event, NO_CALL)
            self._events.emit(event)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber` with every later event (see `events`). Returns a function that unsubscribes."""
        return self._events.subscribe(subscriber)

    def instrument(self, *, tracer_provider: Any = None, meter_provider: Any = None) -> Callable[[], None]:
        """Record OpenTelemetry spans and metrics of later calls (extra `otel`). Returns a function that ends recording.

        The default providers are the global ones. `settings.opentelemetry` does the same from the first call.
        """
        return instrument(self.config, self._parts.runtime, tracer_provider, meter_provider)

    def close(self) -> None:
        """Close the idle connections of synchronous calls. The client can still be used."""
        held = portal()
        if self._parts.runtime.bills is not None:
            self._parts.runtime.bills.close()
        if not held.here:
            SyncBridge(self._events).run(self._parts.runtime.background.aclose)
            SyncBridge(self._events).run(self._parts.transport.aclose)
            if self._parts.store is not None:
                SyncBridge(self._events).run(self._parts.store.aclose)

    async def aclose(self) -> None:
        """Close the idle connections of the running loop. The client can still be used."""
        if self._parts.runtime.bills is not None:
            self._parts.runtime.bills.close()
        if self._parts.store is not None:
            self._parts.store.stop()
        await self._parts.runtime.background.aclose()
        await self._parts.transport.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a FallbackClient holds keys and connections: pickle its `config` and build a new one")

    if not TYPE_CHECKING:  # a type checker must not see this method

        def __getattr__(self, name: str) -> NoReturn:
            raise no_attribute("a FallbackClient", "client's", name, dir(type(self)))

    def __repr__(self) -> str:
        return f"<FallbackClient models={len(self.config.ids())} endpoints={sorted(self.config.endpoints)}>"

    # Internal

    def _choice(
        self,
        task: str | None = None,
        max_cost_tier: str | None = None,
        primary_provider: str | None = None,
        models: Sequence[str | ModelConfig] | None = None,
        max_price: MaxPrice | None = None,
    ) -> Choice:
        """The routing of a call, fixed when the call is made: arguments first, then context, then this client."""
        said = Choice.of(task, max_cost_tier, primary_provider, models, max_price)
        return in_context(said).over(self._defaults)

    def _goes_on(self, mid_stream: str | None) -> str:
        if mid_stream not in (None, "continue", "raise"):
            raise ConfigError(f"mid_stream={mid_stream!r} is neither 'continue' nor 'raise'")
        return mid_stream or self.config.settings.mid_stream

    def _candidate(self, model: str) -> Candidate:
        """The candidate of a model id that a caller gives. Raises `ConfigError` for an id that no call can use."""
        own = [one if isinstance(one, str) else one.id for one in self._defaults.models or ()]
        return self._parts.planner.candidate(model, own)
