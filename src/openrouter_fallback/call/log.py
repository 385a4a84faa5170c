"""What a call says in the log."""

from __future__ import annotations

from ..events import BreakerOpened, Event, FailedOver, logger


def log(event: Event) -> None:
    """One line for each failover, one for each breaker that opens."""
    if isinstance(event, FailedOver):
        status = f" {event.status}" if event.status is not None else ""
        logger.warning(
            "%s failed (%s%s, %.2f s), going on with %s", event.failed, event.kind, status, event.seconds, event.next
        )
    elif isinstance(event, BreakerOpened):
        logger.warning("%s keeps failing and is left out for a while", event.name)
