"""The `model` of a request chooses a chain: `default`, `task:...`, `tier:...`, `provider:...`, or a model id.

A caller can choose only chains and models of the configuration. So the operator decides on which models a caller can
spend money.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import FallbackConfig
from ..suggest import did_you_mean
from .access import ApiKey
from .errors import Refused

DEFAULT = "default"


class Chains:
    """The chains that a request can choose: maps a name to the routing of a call."""

    def __init__(self, config: FallbackConfig) -> None:
        default = config.chain()
        self._routes: dict[str, Mapping[str, Any]] = {DEFAULT: {}}
        self._routes |= {f"task:{task}": {"task": task} for task in config.task_chains}
        self._routes |= {f"tier:{tier}": {"max_cost_tier": tier} for tier in config.tiers()}
        self._routes |= {f"provider:{name}": {"primary_provider": name} for name in config.providers_map()}
        for id in config.ids():
            rest = (other for other in default if other != id)
            self._routes.setdefault(id, {"models": (id, *rest)})
        self._ids = frozenset(config.ids())

    def names(self, caller: ApiKey) -> list[str]:
        """The names that this caller may choose."""
        return [name for name in self._routes if caller.may_use(name)]

    def find(self, name: str, caller: ApiKey) -> Mapping[str, Any]:
        """The routing of one name. Raises `Refused`: 404 if there is no such name, 403 if the caller may not use it."""
        route = self._routes.get(name)
        if route is None:
            names = self.names(caller)
            near = did_you_mean(name[:200], names)
            whole = f" {DEFAULT!r} is the whole chain." if DEFAULT in names else ""
            raise Refused(
                404,
                f"The model {name[:200]!r} does not exist here.{near}{whole} GET /v1/models lists what can be chosen.",
                code="model_not_found",
                param="model",
            )
        if not caller.may_use(name):
            raise Refused(
                403,
                f"This API key may not use {name!r}; GET /v1/models lists what it may choose.",
                code="model_not_allowed",
                type="permission_error",
                param="model",
            )
        return route

    def choose(self, model: str, models: Sequence[str], caller: ApiKey) -> Mapping[str, Any]:
        """The routing of a request. `models` are ids to call after `model`, as on OpenRouter. Raises `Refused`."""
        route = self.find(model, caller)
        if not models:
            return route
        for id in models:
            self.find(id, caller)
            if id not in self._ids:
                raise Refused(
                    400, f"models holds {id!r}, which is not a model id.", code="invalid_type", param="models"
                )
        first = (model,) if model in self._ids else ()
        return {**route, "models": tuple(dict.fromkeys((*first, *models)))} if first else {"models": tuple(models)}
