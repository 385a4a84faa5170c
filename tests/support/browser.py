"""A headless Chromium, controlled over its debugging pipe by a small part of the DevTools protocol; no library."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MISSING = f"no Chromium here (looked for {', '.join(NAMES)}); on Debian: apt-get install chromium"
_SECONDS = 30.0
_COMPLAINTS = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Page.javascriptDialogOpening")


def chromium() -> str | None:
    """The path of the Chromium program, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Tab:
    """One page. `said` holds the browser's errors and warnings, `asked` every URL that the browser requested."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = read, write
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.said: list[str] = []
        self.asked: list[str] = []
        target = self.do("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for part in ("Page", "Runtime", "Log", "Network", "Accessibility", "DOM"):
            self.do(f"{part}.enable")

    def do(self, method: str, **params: Any) -> Any:
        """Send a DevTools command; return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def open(self, page: Path | str, width: int = 1100, *, dark: bool = False, anchor: str = "") -> None:
        """Show a file or a URL, at a width in pixels."""
        url = page if isinstance(page, str) else page.as_uri()
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.do("Emulation.setEmulatedMedia", features=scheme)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.do("Emulation.setDeviceMetricsOverride", **size)
        self.do("Page.navigate", url="about:blank")
        self.said.clear()
        self.asked.clear()
        self.do("Page.navigate", url=f"{url}{anchor}")
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def wait(self, expression: str) -> None:
        """Wait until the JavaScript expression is true. Raises TimeoutError."""
        until = time.monotonic() + _SECONDS
        while not self.js(expression):
            if time.monotonic() > until:
                raise TimeoutError(f"not so after {_SECONDS} s: {expression}")

    def js(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        result = self.do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key, such as Tab or Enter."""
        text = {"text": "\r"} if key == "Enter" else {}
        code = {"Tab": 9, "Enter": 13}[key]
        self.do("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        self.do("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def picture(self, file: Path, *, top: float = 0, height: float | None = None) -> Path:
        """Write the page, or a part of it, as a PNG file."""
        width, whole = self.js("[innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": top, "width": width, "height": height or whole, "scale": 1}
        shot = self.do("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        file.write_bytes(b64decode(shot["data"]))
        return file

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + _SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise TimeoutError(f"Chromium said nothing for {_SECONDS} s")
            self._buffer += os.read(self._read, 1 << 20)
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        params = message.get("params", {})
        if message.get("method") == "Log.entryAdded":
            self.said.append(params["entry"]["text"])
        if message.get("method") in _COMPLAINTS:
            self.said.append(str(params))
        if message.get("method") == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
        return message


@contextmanager
def browser(home: Path) -> Iterator[Tab]:
    """A new browser process with its profile in `home`. It ends with the `with` block."""
    command = chromium()
    assert command is not None, MISSING
    to_read, write = os.pipe()
    read, to_write = os.pipe()

    def place() -> None:
        # The parent may have used these file descriptors for the other ends of the pipes.
        os.dup2(first, 3)
        os.dup2(second, 4)

    first, second = (os.dup(fd) for fd in (to_read, to_write))
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe"]
    options += ["--no-first-run", "--disable-background-networking", f"--user-data-dir={home}"]
    with subprocess.Popen(
        [command, *options, "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=place,
        pass_fds=(3, 4),
    ) as child:
        for fd in {to_read, to_write, first, second}:
            os.close(fd)
        try:
            yield Tab(read, write)
        finally:
            child.kill()
            os.close(read)
            os.close(write)
