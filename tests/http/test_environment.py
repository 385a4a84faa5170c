"""What the environment says: proxies and certificates that cannot be used, and loops that are not asyncio's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from openrouter_fallback import ConfigError, FallbackClient, LocalError

from ..support.byteserver import ByteServer, body, plain, reply

KEY = "sk-or-v1-test"
_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


BROKEN = ["http://[proxy", "ftp://proxy.example", "http://:3128", "http://proxy:port", "proxy example", "http://pröxy"]


@pytest.mark.parametrize("value", BROKEN)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"])
def test_a_broken_proxy_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    url = "http://api.example/v1" if variable == "HTTP_PROXY" else "https://api.example/v1"
    with FallbackClient(["a/a"], base_url=url, api_key=KEY) as client, pytest.raises(ConfigError) as caught:
        client.chat("one")
    assert f"{variable} is not the URL of a proxy" in str(caught.value)
    assert value not in str(caught.value), "it may hold a password"


def test_a_broken_proxy_harms_nobody_who_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://[proxy")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with (
        ByteServer(lambda asked: [plain(body(asked.nonce))]) as server,
        FallbackClient(["a/a"], base_url=server.base_url, api_key=KEY) as client,
    ):
        assert client.chat("one").text == reply("one")


def test_a_proxy_of_the_kind_socks_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", "socks5://me:s3cret@127.0.0.1:9")
    with (
        FallbackClient(["a/a"], base_url="https://api.example/v1", api_key=KEY) as client,
        pytest.raises(ConfigError, match="needs a package: pip install socksio") as caught,
    ):
        client.chat("one")
    assert "s3cret" not in str(caught.value)


def test_a_broken_bundle_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    with (
        FallbackClient(["a/a"], base_url="https://127.0.0.1:9/v1", api_key=KEY) as client,
        pytest.raises(ConfigError, match="SSL_CERT_FILE: no certificates can be loaded"),
    ):
        client.chat("one")


def test_without_an_asyncio_loop_the_error_says_what_to_use() -> None:
    """As trio drives a coroutine: there is no asyncio loop."""
    client = FallbackClient(["a/a"], base_url="http://127.0.0.1:9/v1", api_key=KEY)
    with pytest.raises(LocalError, match=r"trio\.to_thread\.run_sync\(client\.chat"):
        client.achat("one").send(None)
    client.close()
