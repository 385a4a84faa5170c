"""A certificate for a server on loopback, made by the `openssl` program."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path


def server_context(folder: Path) -> tuple[ssl.SSLContext, Path] | None:
    """The TLS context of a server with a new certificate, and the file for clients to trust; None without openssl."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return None
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate
