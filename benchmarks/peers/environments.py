"""The virtual environments of the peers. An environment is made if it is missing or its requirements have changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from .table import Peer

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CACHE = HERE.parent / ".peers"


def python_of(name: str) -> Path:
    """The path of the interpreter of an environment. The environment need not exist."""
    return CACHE / name / "bin" / "python"


def prepare(names: Iterable[str]) -> None:
    """Make the missing environments. Raises SystemExit with the end of pip's output if that fails."""
    for name in sorted(set(names)):
        wanted = (HERE / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
        stamp = CACHE / name / "requirements.txt"
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
            continue
        print(f"making the environment {name} (once)", file=sys.stderr, flush=True)
        CACHE.mkdir(exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(CACHE / name)], check=True)
        command = [str(python_of(name)), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        done = subprocess.run(
            [*command, "-r", str(HERE / "requirements" / f"{name}.txt")], capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"the environment {name} cannot be made:\n{done.stderr.strip()[-1500:]}")
        stamp.write_text(wanted, encoding="utf-8")


def command(peer: Peer, script: str, *arguments: str, here: bool) -> list[str]:
    """The command line that runs a script of this folder in the peer's environment, or with `here` in this one."""
    python = sys.executable if here else str(python_of(peer.environment))
    return [python, "-P", str(HERE / script), peer.adapter, *arguments]


def variables() -> Mapping[str, str]:
    """The environment variables of a peer's process: without API keys and telemetry, with this checkout's packages."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_BASE_URL"))}
    for name in ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2", "PYTHONDONTWRITEBYTECODE"):
        kept.pop(name, None)
    # LiteLLM aborts an answer with many equal chunks. Here all words of an answer are equal.
    litellm = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "REPEATED_STREAMING_CHUNK_LIMIT": "1000000"}
    return {**kept, **litellm, "PYTHONPATH": str(ROOT / "src")}


def versions(peer: Peer, *, here: bool) -> dict[str, str]:
    """The versions of the peer's packages in its environment."""
    if here:
        return {name: metadata.version(name) for name in peer.packages}
    code = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    command = [str(python_of(peer.environment)), "-c", code, *peer.packages]
    found: dict[str, str] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def installed(peers: Iterable[Peer]) -> list[Peer]:
    """The peers whose packages are installed in this environment."""
    here = {distribution.name for distribution in metadata.distributions()}
    return [peer for peer in peers if here.issuperset(peer.packages)]
