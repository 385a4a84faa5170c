"""The chain behind an OpenAI-compatible HTTP server, for other languages and for tools that know only a base URL.

An application over the public names of the core. One request goes one way:

    connection      uvicorn's, with a time limit for headers and JSON errors
    app             Host, route, API key, bounds
    bodies          bytes -> a checked request
    chains          `model` -> the routing of the call
    calls           the call; leaving and draining end it
    chunks          pieces -> OpenAI's chunks; errors: an exception -> OpenAI's and OpenRouter's error object
    files           the bounds that the limit of open files allows
    metrics, log    what was learnt of it: numbers, and one line
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
