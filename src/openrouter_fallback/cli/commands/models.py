"""The command `models`."""

from __future__ import annotations

from collections.abc import Iterable

import typer

from ... import ConfigError, FallbackClient
from ...suggest import nearest
from ..analysis.audit import NEEDS
from ..analysis.listing import Wanted, provider, select
from ..options import Sort
from ..output.shapes import models_json
from ..output.terminal import print_json
from ..output.views import show_models
from .calls import listed


def search(
    client: FallbackClient,
    endpoint: str,
    wanted: Wanted,
    sort: Sort,
    limit: int | None,
    *,
    offline: bool,
    as_json: bool,
) -> bool:
    """Print the wanted models; whether there are any."""
    if endpoint not in client.config.endpoints:
        raise ConfigError(f"no endpoint {endpoint!r} is configured; there are: {', '.join(client.config.endpoints)}")
    models = listed(client, endpoint, offline=offline)
    _check("--can", wanted.can, {*NEEDS, *(name for model in models for name in model.parameters or ())})
    _check("--provider", wanted.providers, {provider(model.id) for model in models})
    found = select(models, wanted, sort)[:limit]
    if as_json:
        print_json(models_json(found))
    else:
        show_models(found, len(models))
    return bool(found)


def _check(option: str, given: Iterable[str], known: Iterable[str]) -> None:
    names = sorted(known)
    for name in given:
        if name not in names:
            meant = nearest(name, names)
            hint = f"did you mean {meant!r}?" if meant else f"there are: {', '.join(names[:30])}"
            raise typer.BadParameter(f"{option} {name}: {hint}")
