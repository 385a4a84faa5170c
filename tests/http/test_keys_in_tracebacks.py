"""No key in anything that an exception leads to: messages, causes, frames and their locals, pickles."""

from __future__ import annotations

import asyncio
import json
import pickle
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from rich.traceback import Traceback

from openrouter_fallback import (
    ConfigError,
    EndpointConfig,
    FallbackClient,
    FallbackConfig,
    FallbackError,
    Settings,
    load_config,
)

from ..support.byteserver import Asked, ByteServer, Step, body, chunked, events, plain
from ..support.leaks import leaks

KEY, OTHER_KEY, TOKEN, CALL_TOKEN = "k.3Yq-foreign~7", "tok_other_9/xx+", "endpoint-secret-81", "call-secret-77"
SECRETS = (KEY, OTHER_KEY, TOKEN, CALL_TOKEN)

_STREAM = chunked(events("one"))
FAULTS: dict[str, list[Step]] = {
    "reset": ["reset"],
    "closed": ["close"],
    "garbage": [b"\x00\xff\xfe garbage\r\n\r\n", "close"],
    "a bad status line": [b"HTTP/1.1 9999 Odd\r\n\r\n", "close"],
    "a bad header": [b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n", "close"],
    "two lengths": [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello", "close"],
    "cut in the head": [_STREAM[:30], "reset"],
    "cut in the body": [_STREAM[:-40], "reset"],
    "a bad chunk": [_STREAM.replace(b"\r\n\r\n", b"\r\n\r\nzz\r\n", 1), "close"],
    "short": [plain(body("one"))[:-5], "close"],
    "gzip that is none": [plain(b"none", headers="content-encoding: gzip\r\n")],
    "a parameter": [plain(json.dumps({"error": {"message": "no", "param": KEY}}).encode(), status="400 No")],
    "choices": [plain(json.dumps({"choices": {KEY: [KEY]}}).encode())],
    "an id that is no text": [
        chunked([part.replace(b'"gen-one"', json.dumps({KEY: KEY}).encode()) for part in events("one")])[:-40],
        "reset",
    ],
}


def config(url: str) -> FallbackConfig:
    own = {"x-secret": TOKEN}
    return FallbackConfig(
        default_chain=("a/a", "other:b"),
        endpoints={
            "openrouter": EndpointConfig(url, headers=own),
            "other": EndpointConfig(url, api_key=OTHER_KEY, headers=own),
        },
        settings=Settings(max_retries_per_model=1),
    )


@pytest.fixture
def client_for() -> Iterator[Callable[[ByteServer], FallbackClient]]:
    made: list[FallbackClient] = []

    def make(server: ByteServer) -> FallbackClient:
        made.append(FallbackClient(config=config(server.base_url), api_key=KEY, headers={"x-more": TOKEN}))
        return made[-1]

    yield make
    for client in made:
        client.close()


MakeClient = Callable[[ByteServer], FallbackClient]


def shown(error: BaseException) -> str:
    """The traceback as rich reads it, with the locals of all frames that are not the tests'."""
    trace = Traceback.from_exception(
        type(error), error, error.__traceback__, show_locals=True, locals_max_string=10_000
    )
    for stack in trace.trace.stacks:
        stack.frames = [frame for frame in stack.frames if "/tests/" not in frame.filename]
    nodes = [node for stack in trace.trace.stacks for frame in stack.frames for node in (frame.locals or {}).values()]
    return "\n".join([*(stack.exc_value for stack in trace.trace.stacks), *map(str, nodes)])


def nowhere(error: BaseException) -> None:
    assert leaks([error], SECRETS) == []
    text = shown(error)
    assert not [secret for secret in SECRETS if secret in text]
    with suppress(TypeError):  # what asyncio raises may hold what cannot be pickled
        assert not [secret for secret in SECRETS if secret.encode() in pickle.dumps(error)]


def test_the_search_finds_a_key() -> None:
    def hold(key: str) -> None:
        raise ValueError(len(key))

    compiled: dict[str, Callable[[str], None]] = {}
    exec(compile("def hold(key):\n    raise ValueError(len(key))", "/elsewhere.py", "exec"), compiled)
    with pytest.raises(ValueError, match="15") as caught:
        compiled["hold"](KEY)
    assert leaks([caught.value], SECRETS)
    with pytest.raises(ValueError, match="15") as caught:
        hold(KEY)
    assert not leaks([caught.value], SECRETS), "frames of the tests are left out"


async def _call(client: FallbackClient, surface: str) -> None:
    own = {"x-call": CALL_TOKEN}
    if surface == "chat":
        await asyncio.to_thread(lambda: client.chat("one", headers=own))
    elif surface == "achat":
        await client.achat("one", headers=own)
    else:
        async with client.astream("one", headers=own) as stream:
            async for _ in stream:
                pass


@pytest.mark.parametrize("fault", list(FAULTS))
@pytest.mark.parametrize("surface", ["chat", "achat", "astream"])
async def test_a_call_that_fails(client_for: MakeClient, fault: str, surface: str) -> None:
    with ByteServer(lambda _: FAULTS[fault]) as server:
        client = client_for(server)
        with pytest.raises(FallbackError) as caught:
            await _call(client, surface)
        nowhere(caught.value)
        await client.aclose()


def _silent(_: Asked) -> Iterable[Step]:
    return []


def _silent_later(_: Asked) -> Iterable[Step]:
    return [_STREAM[:-60]]


def _silent_in_gzip(_: Asked) -> Iterable[Step]:
    return [b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 100\r\n\r\n\x1f\x8b"]


SILENT = [_silent, _silent_later, _silent_in_gzip]


@pytest.mark.parametrize("script", SILENT)
async def test_a_call_that_is_timed_out_by_its_caller(
    client_for: MakeClient, script: Callable[[Asked], Iterable[Step]]
) -> None:
    with ByteServer(script) as server:
        client = client_for(server)
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.1):
                await client.achat("one", headers={"x-call": CALL_TOKEN})
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        nowhere(caught.value)
        await client.aclose()


@pytest.mark.parametrize("script", SILENT)
async def test_a_call_that_is_cancelled(client_for: MakeClient, script: Callable[[Asked], Iterable[Step]]) -> None:
    loop, sent = asyncio.get_running_loop(), asyncio.Event()

    def answer(asked: Asked) -> Iterable[Step]:
        yield from script(asked)
        loop.call_soon_threadsafe(sent.set)

    with ByteServer(answer) as server:
        client = client_for(server)
        task = asyncio.create_task(client.achat("one", headers={"x-call": CALL_TOKEN}))
        await sent.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        nowhere(caught.value)
        await client.aclose()


async def test_a_group_of_calls(client_for: MakeClient) -> None:
    with ByteServer(lambda _: ["reset"]) as server:
        client = client_for(server)

        async def calls() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(client.achat("one"))

        with pytest.raises(ExceptionGroup) as caught:
            await calls()
        nowhere(caught.value)
        await client.aclose()


async def test_an_error_of_the_caller_keeps_its_traceback(client_for: MakeClient) -> None:
    """What the caller is handling while it calls is its own: only the library's frames are cut."""
    with ByteServer(_silent) as server:
        client = client_for(server)
        held: list[ValueError] = []

        async def while_handling() -> None:
            try:
                raise ValueError("the caller's")
            except ValueError as error:
                held.append(error)
                async with asyncio.timeout(0.1):
                    await client.achat("one")

        with pytest.raises(TimeoutError):
            await while_handling()
        assert held[0].__traceback__ is not None
        await client.aclose()


@pytest.mark.parametrize("key", [f"{KEY} with spaces", f'"{KEY}"', f"{KEY}\u00fc"])
def test_a_key_that_cannot_be_one(key: str) -> None:
    with pytest.raises(ConfigError, match="copy it again") as caught:
        FallbackClient(["a/a"], api_key=key).chat("one")
    nowhere(caught.value)
    with pytest.raises(ConfigError, match="copy it again") as caught:
        FallbackClient(["a/a"], api_key=lambda: key).chat("one")
    nowhere(caught.value)


REFUSED: dict[str, Callable[[FallbackClient], object]] = {
    "api_key": lambda client: client.chat("one", api_key=KEY),
    "extra_headers": lambda client: client.chat("one", extra_headers={"authorization": f"Bearer {KEY}"}),
    "a stream": lambda client: [*client.stream("one", api_key=KEY)],
}


@pytest.mark.parametrize("argument", REFUSED)
def test_a_key_in_the_wrong_argument_of_a_call(argument: str) -> None:
    with (
        FallbackClient(["a/a"], api_key=TOKEN) as client,
        pytest.raises(ConfigError, match="not an argument") as caught,
    ):
        REFUSED[argument](client)
    nowhere(caught.value)


def test_other_mistakes_beside_a_key() -> None:
    with pytest.raises(ConfigError) as caught:
        FallbackClient(["a model with spaces"], api_key=KEY, headers={"x-secret": TOKEN})
    nowhere(caught.value)
    with pytest.raises(ConfigError) as caught:
        FallbackClient(["a/a"], api_key=KEY, headers={"x-secret": TOKEN, "bad name": CALL_TOKEN})
    nowhere(caught.value)


_OWN = {"base_url": "http://127.0.0.1:9/v1", "api_key": KEY, "headers": {"x-secret": TOKEN}}
MISTAKES: dict[str, Callable[[], object]] = {
    "a chain": lambda: FallbackClient(config={"default_chain": ["no id"], "endpoints": {"own": _OWN}}),
    "a setting": lambda: FallbackClient.from_config({"default_chain": ["own:m"], "endpoints": {"own": _OWN}, "x": 1}),
    "a header": lambda: load_config({"endpoints": {"own": {**_OWN, "headers": {"x-secret": f"{TOKEN}\n"}}}}),
    "a key in its place": lambda: FallbackConfig(default_chain=("own:m",), api_key=KEY),  # type: ignore[call-arg]
    "an endpoint": lambda: EndpointConfig("nonsense", api_key=KEY),
    "a key's name": lambda: FallbackClient(["a/a"], api_kye=KEY),  # type: ignore[call-arg]
}


@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_a_mistake_in_a_configuration_that_holds_a_key(mistake: str) -> None:
    """The arguments stood in the frames of the constructors, and in the error of pydantic behind them."""
    own = ValueError("what the caller is handling")
    try:
        raise own
    except ValueError:
        with pytest.raises(ConfigError) as caught:
            MISTAKES[mistake]()
    nowhere(caught.value)
    assert caught.value.__context__ is own
    assert own.__traceback__ is not None


def test_a_mistake_in_a_file_that_holds_a_key(tmp_path: Path) -> None:
    file = tmp_path / "fallback.yaml"
    file.write_text(f"fallback:\n  endpoints:\n    own: {json.dumps(_OWN)}\n  nonsense: 1\n")
    with pytest.raises(ConfigError, match="nonsense") as caught:
        FallbackClient(config=file)
    nowhere(caught.value)


# The password of a proxy


def _refused(said: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {said}\r\ncontent-length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    return refuse


@pytest.mark.parametrize(
    "said",
    ["407 Proxy Authentication Required", f"403 no {TOKEN}", f"400 {b64encode(f'me:{TOKEN}'.encode()).decode()}"],
)
async def test_a_proxy_that_refuses(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with await asyncio.start_server(_refused(said), "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:{TOKEN}@127.0.0.1:{port}")
        async with FallbackClient(["a/a"], base_url="https://192.0.2.1/v1", api_key=KEY) as client:
            with pytest.raises(FallbackError, match="the proxy failed") as caught:
                await client.achat("one")
    nowhere(caught.value)
    assert b64encode(f"me:{TOKEN}".encode()).decode() not in str(caught.value)


@pytest.mark.parametrize("proxy", ["ftp://me:{}@proxy", "http://me:{}@proxy:port", "http://me:{}@a proxy"])
async def test_a_proxy_that_is_none(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.format(TOKEN))
    async with FallbackClient(["a/a"], base_url="http://192.0.2.1/v1", api_key=KEY) as client:
        with pytest.raises(ConfigError, match="HTTP_PROXY is not the URL of a proxy") as caught:
            await client.achat("one")
    nowhere(caught.value)


async def test_a_healthy_call_leaves_no_key_behind(client_for: MakeClient) -> None:
    """The client, its open connections and an answer that is still being read."""

    def echoes(asked: Asked) -> list[Step]:
        sent = "".join(f"x-echo-{name}: {value}\r\n" for name, value in asked.headers.items())
        whole = chunked(events(asked.nonce), headers=f"x-generation-id: {KEY}\r\n{sent}")
        return [whole.replace(b"200 OK", b"200 " + KEY.encode())]

    with ByteServer(echoes) as server:
        client = client_for(server)
        completion = await client.achat("one", headers={"x-call": CALL_TOKEN})
        async with client.astream("two") as stream:
            await anext(stream)
            assert leaks([client, completion, stream], SECRETS) == []
            assert completion.attempts[0].generation_id == "***"
        await client.aclose()
