"""The refusal of a request before any model answers."""

from __future__ import annotations

from typing import Any

import orjson


class Refused(Exception):
    """A request refused by OpenRouter or by a provider: the HTTP status and the error."""

    def __init__(
        self,
        status: int,
        message: str,
        metadata: dict[str, Any] | None = None,
        availability: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error: dict[str, Any] = {"code": status, "message": message}
        if metadata is not None:
            self.error["metadata"] = metadata
        if availability is not None:
            self.error["availability"] = availability

    def body(self, extra: dict[str, Any] | None = None) -> bytes:
        """The JSON body."""
        return orjson.dumps({"error": self.error, **(extra or {})})


def by_provider(provider: str, words: str) -> Refused:
    """A 400 of a provider. The provider's own message is in `metadata.raw`."""
    metadata = {"error_type": "invalid_request", "provider_name": provider, "raw": words}
    return Refused(400, "Provider returned error", metadata)


def unavailable(status: int, code: str, message: str, models: list[str], **more: Any) -> Refused:
    """An error because no endpoint serves this request. `error.availability` has the machine-readable reason."""
    error_type = {"error_type": "invalid_request" if status == 400 else "not_found"}
    availability = {"code": code, "retryable": False, "requested_models": models, **more}
    return Refused(status, message, error_type, availability)
