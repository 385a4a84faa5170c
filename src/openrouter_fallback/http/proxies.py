"""Proxies and CA bundles from environment variables, checked: a `ConfigError` names the wrong variable."""

from __future__ import annotations

import os
import ssl
from base64 import b64encode
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore2
import httpx2
from pydantic import SecretStr

from ..errors import ConfigError
from ..redaction import Secrets
from .pool import IDLE_SECONDS, MAX_IDLE_CONNECTIONS

_SCHEMES = ("http", "https", "socks5", "socks5h")


def proxy_for(scheme: str, netloc: str) -> SecretStr | None:
    """The proxy for requests to a host, from the environment variables; None: no proxy. It may hold a password."""
    known = getproxies()
    name = scheme if known.get(scheme) else "all"
    proxy = known.get(name)
    if not proxy or proxy_bypass(netloc):
        return None
    if not _usable(proxy):
        del proxy, known  # the error leads to this frame
        raise ConfigError(
            f"{_variable(name)} is not the URL of a proxy; allowed is a URL as in 'http://proxy.example:3128' "
            f"({', '.join(_SCHEMES)}). Correct or unset it, or name the endpoint's host in NO_PROXY."
        )
    return SecretStr(proxy)


def proxy_secrets(proxy: SecretStr | None) -> Secrets:
    """What no message may repeat of a proxy's URL: its password, also in the form of the header that carries it."""
    parsed = _split("" if proxy is None else proxy.get_secret_value())
    if not parsed.password:
        return Secrets()
    password = unquote(parsed.password)
    basic = b64encode(f"{unquote(parsed.username or '')}:{password}".encode()).decode()
    return Secrets(SecretStr(one) for one in (password, parsed.password, basic))


def tls_context() -> ssl.SSLContext:
    """The TLS context with the trusted certificates."""
    try:
        return httpx2.create_ssl_context()
    except OSError as error:  # a file without certificates raises a subclass
        names = " and ".join(name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name))
        raise ConfigError(f"{names or 'the CA bundle'}: no certificates can be loaded from there ({error}).") from None


def pool(
    proxy: SecretStr | None, tls: ssl.SSLContext | None, backend: httpcore2.AsyncNetworkBackend
) -> httpcore2.AsyncConnectionPool:
    """The pool that makes the connections, through `proxy` if it is given."""
    options: dict[str, Any] = {
        "ssl_context": tls,
        "max_connections": None,
        "max_keepalive_connections": MAX_IDLE_CONNECTIONS,
        "keepalive_expiry": IDLE_SECONDS,
        "network_backend": backend,
    }
    if proxy is None:
        return httpcore2.AsyncConnectionPool(**options)
    parsed = _split(proxy.get_secret_value())
    bare = parsed._replace(netloc=parsed.netloc.rpartition("@")[2]).geturl()
    auth = None if parsed.username is None else (unquote(parsed.username), unquote(parsed.password or ""))
    if parsed.scheme.startswith("socks"):
        try:
            return httpcore2.AsyncSOCKSProxy(bare, auth, **options)
        except (ImportError, RuntimeError):
            del parsed, auth
            raise ConfigError("a proxy of the kind socks5 needs a package: pip install socksio") from None
    return httpcore2.AsyncHTTPProxy(bare, auth, proxy_ssl_context=tls if parsed.scheme == "https" else None, **options)


def _split(proxy: str) -> SplitResult:
    return urlsplit(proxy if "://" in proxy else f"http://{proxy}")


def _usable(proxy: str) -> bool:
    try:
        parsed = _split(proxy)
        good = parsed.scheme in _SCHEMES and bool(parsed.hostname) and parsed.port != 0
    except ValueError:
        return False
    return good and proxy.isascii() and proxy.isprintable() and " " not in proxy


def _variable(name: str) -> str:
    """The variable that names the proxy. `getproxies` reads both spellings, and on some systems system settings."""
    names = (f"{name}_proxy", f"{name}_proxy".upper())
    return next((one for one in names if os.environ.get(one)), f"the system's {name} proxy")
