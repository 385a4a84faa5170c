"""What only a process of its own can show: Ctrl-C, a fork, the interpreter's end, memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from openrouter_fallback.emulator import Emulator, Request

from ..cases.matrix import FIRST, FIRST_TEXT, SECOND, SECOND_TEXT

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and fork as POSIX has them")

_PRELUDE = f"""
import asyncio, os, signal, sys
from openrouter_fallback import FallbackClient
FIRST, SECOND = {FIRST!r}, {SECOND!r}
client = FallbackClient([FIRST], base_url=sys.argv[1], api_key="sk-or-v1-emulator")
"""


@pytest.fixture
def emulator(served: Emulator) -> Emulator:
    """An endless first model, a second one that answers at once."""
    served.clear()
    served.pace(token_interval=0.01)
    served.reply(tokens=5000, model=FIRST)
    served.reply(text=SECOND_TEXT, model=SECOND)
    return served


def start(emulator: Emulator, script: str, *options: str) -> subprocess.Popen[str]:
    """A Python that shows every warning, on the given script."""
    command = [sys.executable, "-W", "error", *options, "-c", _PRELUDE + script, emulator.base_url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def gone(log: list[Request]) -> bool:
    return bool(log) and log[0].ended == "gone"


# Each leaves something open; `print` shows how far it came.
NEVER_CLOSED = {
    "a client": """
print(client.chat("Hello", models=[SECOND]).text)
""",
    "a client of a loop": """
async def main():
    print((await client.achat("Hello", models=[SECOND])).text)
asyncio.run(main())
""",
    "a client of two loops": """
async def main():
    return (await client.achat("Hello", models=[SECOND])).text
assert asyncio.run(main()) == asyncio.run(main())
print(asyncio.run(main()))
""",
    "a stream": """
stream = client.stream("Hello", models=[FIRST])
next(stream)
print(client.chat("Hello", models=[SECOND]).text)
""",
    "a stream that was dropped": """
next(client.stream("Hello", models=[FIRST]))
print(client.chat("Hello", models=[SECOND]).text)
""",
    "an async stream": """
async def main():
    global stream
    stream = client.astream("Hello", models=[FIRST])
    await anext(stream)
    print((await client.achat("Hello", models=[SECOND])).text)
asyncio.run(main())
""",
    "an async stream that was dropped": """
async def main():
    print((await client.achat("Hello", models=[SECOND])).text)
    await anext(client.astream("Hello", models=[FIRST]))
asyncio.run(main())
""",
    "an async stream that is dropped after its loop": """
async def main():
    stream = client.astream("Hello", models=[FIRST])
    await anext(stream)
    print((await client.achat("Hello", models=[SECOND])).text)
    return stream
stream = asyncio.run(main())
del stream
""",
    "an async stream of a loop that is only closed": """
import warnings
warnings.simplefilter("ignore", ResourceWarning)  # asyncio's own, of the sockets
loop = asyncio.new_event_loop()
async def main():
    stream = client.astream("Hello", models=[FIRST])
    await anext(stream)
    print((await client.achat("Hello", models=[SECOND])).text)
    return stream
stream = loop.run_until_complete(main())
loop.close()
""",
}


@pytest.mark.parametrize("what", NEVER_CLOSED)
def test_what_is_never_closed_leaves_no_warning(emulator: Emulator, what: str) -> None:
    process = start(emulator, NEVER_CLOSED[what])
    output, complaints = process.communicate(timeout=30)
    assert (process.returncode, output, complaints) == (0, SECOND_TEXT + "\n", "")
    log = emulator.wait_for(lambda log: all(request.ended != "open" for request in log))
    assert {request.ended for request in log if request.model == FIRST} <= {"gone"}


# What daemon threads do as the interpreter ends, some milliseconds later.
IN_DAEMON_THREADS = {
    "a call": 'client.chat("Hello")',
    "a stream": '[None for piece in client.stream("Hello")]',
    "calls, one after the other": """
while True:
    client.chat("Hello", models=[SECOND], accept=lambda answer: True)
""",
    "a function of the caller's": 'client.chat("Hello", models=[SECOND], accept=lambda _: threading.Event().wait())',
}


@pytest.mark.parametrize("what", IN_DAEMON_THREADS)
def test_a_thread_in_mid_call_leaves_no_traceback_as_the_interpreter_ends(emulator: Emulator, what: str) -> None:
    script = f"""
import threading
def work():
    {IN_DAEMON_THREADS[what].strip().replace(chr(10), chr(10) + "    ")}
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
sys.stdin.read()
"""
    command = [sys.executable, "-W", "error", "-c", _PRELUDE + script, emulator.base_url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        emulator.wait_for(lambda log: sum(request.tokens_sent > 2 for request in log) >= 3, timeout=20)
        _, complaints = process.communicate(timeout=30)
    assert (process.returncode, complaints) == (0, "")
    log = emulator.wait_for(lambda log: all(request.ended != "open" for request in log))
    assert {request.ended for request in log if request.model == FIRST} <= {"gone"}


def test_a_call_after_the_portal_was_closed_says_so(emulator: Emulator) -> None:
    late = """
import atexit
def late():
    try:
        client.chat("Hello")
    except Exception as error:
        print(type(error).__name__, error)
atexit.register(late)  # before the library: it is called after the library's own
"""
    command = [sys.executable, "-W", "error", "-c", f"{late}{_PRELUDE}client.close()", emulator.base_url]
    process = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    said = "LocalError The interpreter is ending: no call can be made any more.\n"
    assert (process.returncode, process.stdout, process.stderr) == (0, said, "")


UNDER_WAY = {
    "chat": 'client.chat("Hello")',
    "stream": '[None for piece in client.stream("Hello")]',
    "achat": 'asyncio.run(client.achat("Hello"))',
    "astream": """
async def read():
    async for piece in client.astream("Hello"):
        pass
asyncio.run(read())
""",
}


@pytest.mark.parametrize("fault", [None, "silence", "no_response"])
@pytest.mark.parametrize("surface", UNDER_WAY)
def test_ctrl_c_ends_the_call_and_closes_the_upstream(emulator: Emulator, surface: str, fault: str | None) -> None:
    if fault:
        emulator.fault(fault, model=FIRST)
    process = start(emulator, UNDER_WAY[surface])
    emulator.wait_for(lambda log: log and (fault or log[0].tokens_sent > 2), timeout=20)
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert complaints.endswith("\nKeyboardInterrupt\n")
    assert "Exception ignored" not in complaints
    assert "Warning" not in complaints
    emulator.wait_for(gone)
    assert emulator.count() == 1


@pytest.mark.parametrize("surface", ["chat", "stream"])
def test_after_ctrl_c_the_client_is_as_good_as_before(emulator: Emulator, surface: str) -> None:
    script = f"""
try:
    {UNDER_WAY[surface]}
except KeyboardInterrupt:
    print(client.chat("Hello", models=[SECOND]).text)
"""
    process = start(emulator, script)
    emulator.wait_for(lambda log: log and log[0].tokens_sent > 2, timeout=20)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == (SECOND_TEXT + "\n", "")
    assert process.returncode == 0
    first, second = emulator.wait_for(gone)
    assert (first.model, second.model, second.ended) == (FIRST, SECOND, "finished")


FORK = """
stream = client.stream("Hello", models=[FIRST])
begun = next(stream).text
child = os.fork()
if child == 0:
    assert client.chat("Hello", models=[SECOND]).text == sys.argv[2]
    try:
        list(stream)
    except RuntimeError as error:
        assert "begun in the parent process" in str(error), error
        del stream
        sys.exit(0)
    sys.exit("the child has read its parent's stream")
_, status = os.waitpid(child, 0)
assert begun + "".join(piece.text for piece in stream) == stream.completion.text == sys.argv[3]
assert client.chat("Hello", models=[SECOND]).text == sys.argv[2]
print(os.waitstatus_to_exitcode(status), len(stream.completion.attempts))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_makes_its_own_call_while_the_parents_stream_goes_on(emulator: Emulator) -> None:
    emulator.reply(text=FIRST_TEXT * 4, model=FIRST)
    # Python 3.12 warns of every fork of a process with threads.
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", _PRELUDE + FORK]
    arguments = [emulator.base_url, SECOND_TEXT, FIRST_TEXT * 4]
    process = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert (process.returncode, process.stdout, process.stderr) == (0, "0 1\n", "")
    assert emulator.count(FIRST) == 1
    assert emulator.count(SECOND) == 2


COMMENTS = """
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
def chat(model):
    return client.chat("Hello", models=[model]).text
def stream(model):
    return "".join(piece.text for piece in client.stream("Hello", models=[model]))
for ask in (chat, stream):
    ask(SECOND)
before = peak()
for ask in (chat, stream):
    assert ask(FIRST) == "x" * 10
print((peak() - before) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads its memory from /proc")
def test_a_hundred_megabytes_of_comments_take_no_memory(emulator: Emulator) -> None:
    emulator.fault("oversized", model=FIRST, size=10, comments_bytes=100 * 10**6)
    process = start(emulator, COMMENTS)
    output, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (0, "")
    assert int(output) < 30
    assert emulator.count(FIRST) == 2
