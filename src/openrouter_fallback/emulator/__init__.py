"""A local server that imitates the OpenRouter API and plays scripted faults, for tests, drills and benchmarks."""

try:
    import starlette as _starlette
    import uvicorn as _uvicorn
except ImportError as missing:
    raise ImportError(
        f"the emulator needs {missing.name}; install it with: pip install 'openrouter-fallback[emulator]'",
        name=missing.name,
    ) from missing

from .faults.kind import Kind
from .faults.kinds import FAULTS
from .faults.schedule import FaultHandle
from .http.log import Request
from .models.registry import MODELS
from .script import ScriptError
from .server import Emulator

__all__ = ["FAULTS", "MODELS", "Emulator", "FaultHandle", "Kind", "Request", "ScriptError"]

del _starlette, _uvicorn
