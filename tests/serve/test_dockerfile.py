"""The Dockerfile without Docker: what it installs, in a clean environment, is the server that it starts and checks."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from openrouter_fallback.emulator import Emulator

from ..cases.matrix import FIRST, FIRST_TEXT

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "Dockerfile").read_text().splitlines()
KEY = "serve-key-0123456789"


def last(instruction: str) -> str:
    return next(line.partition(" ")[2] for line in reversed(LINES) if line.startswith(f"{instruction} "))


def test_the_image_installs_what_it_starts_and_checks(tmp_path: Path, emulator: Emulator) -> None:
    source, place, config = tmp_path / "source", tmp_path / "serve", tmp_path / "fallback.yaml"
    ignored = [line.rpartition("/")[2] for line in (ROOT / ".dockerignore").read_text().splitlines()]
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*ignored))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    here = {"/app/fallback.yaml": str(config), "/source": str(source), "/serve": str(place), "8788": port}

    def translated(text: str) -> str:
        return re.sub("|".join(map(re.escape, here)), lambda found: here[found[0]], text)

    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PATH"] = f"{place / 'bin'}:{Path(sys.executable).parent}:{environment['PATH']}"
    for line in LINES:
        if line.startswith("RUN ") and "useradd" not in line:
            done = subprocess.run(translated(line[4:]), shell=True, env=environment, capture_output=True, text=True)
            if "Could not find a version" in done.stderr:
                pytest.skip(f"no package index can be reached: {done.stderr[-300:]}")
            assert done.returncode == 0, done.stderr[-2000:]

    config.write_text(f"fallback: {{default_chain: [{FIRST}]}}")
    environment |= {"OPENROUTER_BASE_URL": emulator.base_url, "OPENROUTER_API_KEY": emulator.api_key}
    program, *args = json.loads(translated(last("ENTRYPOINT")))
    command = [str(place / "bin" / program), *args, "--port", port]
    probe = json.loads(translated(last("HEALTHCHECK").removeprefix("CMD ")))
    body = {"model": "default", "messages": [{"role": "user", "content": "Hello"}]}
    pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "cwd": tmp_path}
    with subprocess.Popen(command, env={**environment, "SERVE_API_KEY": KEY}, text=True, **pipes) as child:
        try:
            assert child.stderr is not None
            assert child.stderr.readline().startswith("Configuration: ")
            while "Serving" not in (said := child.stderr.readline()):
                assert said  # a warning where the system allows few open files
            subprocess.run(probe, env=environment, check=True, timeout=60)
            url, headers = f"http://127.0.0.1:{port}/v1/chat/completions", {"authorization": f"Bearer {KEY}"}
            assert FIRST_TEXT in httpx2.post(url, json=body, headers=headers, timeout=30).text
            child.terminate()
            assert child.wait(timeout=30) == 0
        finally:
            child.kill()
    assert last("USER") == "serve"
