"""`endpoints.*.headers` may hold secrets: masked wherever a configuration is shown, dumped or pickled."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from langchain_core.load import dumps

from langchain_openrouter_fallback import ChatOpenRouterFallback
from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback import CatalogError, ConfigError, EndpointConfig, FallbackClient, FallbackConfig, FallbackError

from ..support.byteserver import Asked, ByteServer, Step, body, chunked, events, plain, reply
from ..support.leaks import leaks

TOKEN = "endpoint-secret-81"
CLIENTS, CALLS, COOKIE = "client-secret-5", "call-secret-77/+=", "session-of-sixteen"


def config(url: str = "http://127.0.0.1:9/v1") -> FallbackConfig:
    endpoint = EndpointConfig(url, api_key="own-key-1", headers={"X-Token": TOKEN})
    return FallbackConfig(default_chain=("own:m",), endpoints={"own": endpoint})


def test_it_is_sent() -> None:
    with (
        ByteServer(lambda asked: [plain(body(asked.nonce))]) as server,
        FallbackClient(config=config(server.base_url)) as client,
    ):
        assert client.chat("one").text == reply("one")
        assert server.requests[0].headers["x-token"] == TOKEN


def test_it_is_masked_in_the_configuration() -> None:
    made = config()
    endpoint = made.endpoints["own"]
    for text in (repr(made), str(made.model_dump()), made.model_dump_json(), repr(endpoint.headers)):
        assert TOKEN not in text
    assert "X-Token" in made.model_dump_json()
    assert TOKEN.encode() not in pickle.dumps(made)
    assert copy.deepcopy(made).endpoints["own"].headers == endpoint.headers
    assert copy.copy(endpoint.headers) == endpoint.headers


def test_it_is_masked_in_what_frameworks_write() -> None:
    chat = ChatOpenRouterFallback(config=config())
    llm = OpenRouterFallback(config=config())
    for text in (dumps(chat), chat._get_llm_string(), repr(chat), json.dumps(llm.to_dict(), default=repr), repr(llm)):
        assert TOKEN not in text
    assert TOKEN.encode() not in pickle.dumps(chat) + pickle.dumps(llm)


def test_a_mask_is_no_value() -> None:
    with pytest.raises(ConfigError, match=r"X-Token' is masked, as dumps hold it; give it again"):
        FallbackConfig(**json.loads(config().model_dump_json(exclude_defaults=True)))
    unpickled = pickle.loads(pickle.dumps(config()))
    with (
        FallbackClient(config=unpickled, api_key="k-1-2-3-4") as client,
        pytest.raises(ConfigError, match=r"endpoints.own.headers: the value of 'X-Token' is masked.*give it again"),
    ):
        client.chat("one")
    with pytest.raises(ConfigError, match="give it again"):
        OpenRouterFallback.from_dict(OpenRouterFallback(config=config()).to_dict())


def _echo(asked: Asked) -> list[Step]:
    """An error that holds all that was sent, in each place that an error has."""
    sent = [asked.headers.get(name, "") for name in ("x-token", "x-client", "x-call", "cookie", "authorization")]
    said = " | ".join([*sent, COOKIE])
    error = {"message": said, "code": said, "metadata": {"raw": said, "provider_name": COOKIE}}
    headers = "".join(f"x-echo-{number}: {value}\r\n" for number, value in enumerate(sent))
    return [
        plain(
            json.dumps({"error": error}).encode(),
            status=f"400 {CALLS}",
            headers=f"x-generation-id: {CALLS}\r\n{headers}",
        )
    ]


def test_what_a_server_repeats_of_them_is_replaced() -> None:
    own = {"x-call": CALLS, "cookie": f"theme=dark; session={COOKIE}"}
    secrets = (TOKEN, CLIENTS, CALLS, COOKIE, "own-key-1")
    with (
        ByteServer(_echo) as server,
        FallbackClient(config=config(server.base_url), headers={"X-Client": CLIENTS}) as client,
    ):
        events: list[object] = []
        client.subscribe(events.append)
        with pytest.raises(FallbackError, match=r"\*\*\* \| \*\*\* \| \*\*\*") as caught:
            client.chat("one", headers=own)
        assert leaks([caught.value, events, client], secrets) == []
        assert not any(secret.encode() in pickle.dumps(caught.value) for secret in secrets)
        with pytest.raises(CatalogError, match="400") as failed:
            client.refresh_catalog()
        assert leaks([failed.value], (TOKEN, CLIENTS, "own-key-1")) == []


def test_what_an_answer_repeats_of_them_in_its_names_is_replaced() -> None:
    def answers(asked: Asked) -> list[Step]:
        said = asked.headers["authorization"]
        whole = body(asked.nonce, id=CALLS, model=f"m {TOKEN}", provider=said)
        return [plain(whole.replace(b'>"', b'>."').replace(b'"stop"', json.dumps(said).encode()))]

    with ByteServer(answers) as server, FallbackClient(config=config(server.base_url)) as client:
        events: list[object] = []
        client.subscribe(events.append)
        completion = client.chat("one", headers={"x-call": CALLS})
        assert completion.text == f"{reply('one')}."
        assert (completion.raw["id"], completion.model, completion.provider) == ("***", "m ***", "Bearer ***")
        assert completion.finish_reason == "Bearer ***"
        assert leaks([completion, events], (TOKEN, CALLS, "own-key-1")) == []


_NAMED = [
    part.replace(b'{"id": "gen-', b'{"model": "own-key-1", "provider": "own-key-1", "id": "own-key-1')
    for part in events("one")
]
FAILS: dict[str, list[Step]] = {
    "cut in the middle": [chunked(_NAMED)[:-250], "reset"],
    "an end without words": [chunked([_NAMED[-2], _NAMED[-1]])],
    "silence": [chunked(_NAMED)[:-250]],
}


@pytest.mark.parametrize("case", list(FAILS))
@pytest.mark.parametrize("surface", ["chat", "stream"])
def test_what_a_failed_answer_repeats_of_them_in_its_names_is_replaced(case: str, surface: str) -> None:
    with ByteServer(lambda _: FAILS[case]) as server, FallbackClient(config=config(server.base_url)) as client:
        events: list[object] = []
        client.subscribe(events.append)
        call = client.chat if surface == "chat" else lambda *args, **given: list(client.stream(*args, **given))
        with pytest.raises(FallbackError) as caught:
            call("one", total_timeout=0.3)
        roots = [caught.value] if surface == "chat" else [vars(caught.value), str(caught.value)]
        assert leaks([*roots, events], ("own-key-1",)) == [], "the pieces of a stream hold the chunks as they came"
