"""An OpenAI-compatible HTTP server for a chain of models, for other languages and for tools that need a base URL.

The server uses only the public names of the core. A request passes through these modules in order:

    connection      uvicorn's connection, with a time limit for headers, and errors as JSON
    app             checks the Host header, the route, the API key and the limits
    bodies          bytes -> a checked request
    chains          `model` -> the routing of the call
    calls           makes the call; ends it when the client disconnects or the server stops
    chunks, errors  pieces -> OpenAI's chunks; an exception -> OpenAI's error object with OpenRouter's `metadata`
    files           the limits that the limit of open files allows
    metrics, log    the Prometheus metrics, and one line in the access log
"""

try:
    import prometheus_client as _prometheus_client
    import starlette as _starlette
    import uvicorn as _uvicorn
except ImportError as missing:
    raise ImportError(
        f"serve needs {missing.name}; install it with: pip install 'openrouter-fallback[serve]'",
        name=missing.name,
    ) from missing

from .access import ApiKey, ApiKeys
from .app import App
from .log import write_to as access_log_to
from .options import Bounds, Options
from .server import serve

__all__ = ["ApiKey", "ApiKeys", "App", "Bounds", "Options", "access_log_to", "serve"]

del _prometheus_client, _starlette, _uvicorn
