"""A faithful OpenRouter on loopback whose faults are scripted, for tests, drills and benchmarks."""

try:
    import starlette as _starlette
    import uvicorn as _uvicorn
except ImportError as missing:
    raise ImportError(
        f"the emulator needs {missing.name}; install it with: pip install 'openrouter-fallback[emulator]'",
        name=missing.name,
    ) from missing

from openrouter_fallback.emulator.faults import FAULTS, Kind
from openrouter_fallback.emulator.log import Request
from openrouter_fallback.emulator.models import MODELS
from openrouter_fallback.emulator.schedule import FaultHandle
from openrouter_fallback.emulator.script import ScriptError
from openrouter_fallback.emulator.server import Emulator

__all__ = ["FAULTS", "MODELS", "Emulator", "FaultHandle", "Kind", "Request", "ScriptError"]

del _starlette, _uvicorn
