"""Other chat models taken over: a ChatOpenAI as the last resort, the settings of a ChatOpenAI or ChatOpenRouter; and
nothing meant for OpenAI leaks in."""

from __future__ import annotations

import ast
import asyncio
import pickle
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import openai
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_openai import AzureChatOpenAI, ChatOpenAI
from langchain_openai.chat_models.base import BaseChatOpenAI
from langchain_openrouter import ChatOpenRouter
from pydantic import model_validator

from langchain_openrouter_fallback import ChatOpenRouterFallback
from langchain_openrouter_fallback.errors import ConfigError
from openrouter_fallback import FallbackError, ModelConfig, load_config
from openrouter_fallback.emulator import Emulator

from ..support.clients import undiced
from .conftest import CLAUDE, GPT, Make
from .surfaces import SURFACES, aask


def built(cls: Any, **arguments: Any) -> Any:
    """Their constructors' types know neither aliases nor plain strings as keys."""
    return cls(**arguments)


DIRECT = "openai/gpt-oss-20b"


@pytest.fixture
def direct() -> Iterator[Emulator]:
    """A provider's own API: another server, which takes only its own key."""
    with Emulator(api_key="sk-proj-own", strict=True) as emulator:
        yield emulator


@pytest.fixture
def openai_model(direct: Emulator) -> Any:
    return built(
        ChatOpenAI,
        model=DIRECT,
        base_url=direct.base_url,
        api_key=direct.api_key,
        default_headers={"X-Theirs": "1"},
        organization="org-1",
    )


@pytest.mark.parametrize("surface", SURFACES)
async def test_a_chat_openai_answers_when_openrouter_is_gone(
    emulator: Emulator, make: Make, direct: Emulator, openai_model: ChatOpenAI, surface: str
) -> None:
    llm = make(models=[GPT, CLAUDE, openai_model], base_url=emulator.refused_url(), default_headers={"X-Ours": "1"})
    undiced(llm.client)

    outcome = await aask(llm, surface)

    assert outcome.answer.response_metadata["attempts"][-1]["model"] == f"127.0.0.1:{DIRECT}"
    (request,) = direct.log
    assert request.body["model"] == DIRECT
    assert (request.headers["x-theirs"], request.headers["openai-organization"]) == ("1", "org-1")


def test_it_is_not_asked_while_openrouter_answers(
    emulator: Emulator, make: Make, direct: Emulator, openai_model: ChatOpenAI
) -> None:
    make(models=[GPT, openai_model]).invoke("hello")
    assert (emulator.count(), direct.count()) == (1, 0)
    assert "x-theirs" not in emulator.log[0].headers


def test_annotations_go_back_to_openrouter_alone(
    emulator: Emulator, make: Make, direct: Emulator, openai_model: ChatOpenAI
) -> None:
    notes = [{"type": "url_citation", "url_citation": {"url": "https://x.org"}}]
    llm = make(models=[GPT, openai_model])
    history = [
        HumanMessage("hello"),
        AIMessage("See there.", response_metadata={"annotations": notes}),
        HumanMessage("?"),
    ]
    llm.invoke(history)
    emulator.fault("temporarily_unavailable", model=GPT)
    llm.invoke(history)
    assert emulator.log[0].body["messages"][1]["annotations"] == notes
    assert direct.log[0].body["messages"][1] == {"role": "assistant", "content": "See there."}


def test_a_chat_openai_beside_a_configuration(
    emulator: Emulator, make: Make, direct: Emulator, openai_model: ChatOpenAI
) -> None:
    emulator.fault("temporarily_unavailable", model=GPT)
    llm = make(config={"default_chain": [CLAUDE], "task_chains": {"fast": [GPT]}}, models=[GPT, openai_model])
    assert llm.invoke("hello").response_metadata["attempts"][-1]["model"] == f"127.0.0.1:{DIRECT}"
    assert emulator.count(GPT) == 1


class OfAnotherHouse(BaseChatOpenAI):
    """As ChatXAI and ChatDeepSeek do it: a key field of its own, which only its client knows."""

    their_key: str = "sk-proj-own"
    their_url: str = ""

    @model_validator(mode="after")
    def validate_environment(self) -> Self:
        self.root_async_client = openai.AsyncOpenAI(api_key=self.their_key, base_url=self.their_url)
        return self


def test_a_relative_of_chat_openai_brings_its_own_key(
    direct: Emulator, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-leak")
    theirs = built(OfAnotherHouse, model=DIRECT, their_url=direct.base_url)
    assert make(models=[theirs]).invoke("hello").text  # the server takes no other key


def test_for_one_call_it_cannot_be_given(make: Make, openai_model: ChatOpenAI) -> None:
    """Its endpoint belongs to the chain."""
    llm = make()
    assigned = make()
    not_for_it: Any = openai_model
    assigned.models = [not_for_it]
    for ask in (
        lambda: llm.invoke("hello", models=[GPT, not_for_it]),
        lambda: llm.with_routing(models=[not_for_it]),
        lambda: llm.bind(models=[not_for_it]),
        lambda: assigned.invoke("hello"),
    ):
        with pytest.raises(FallbackError, match="holds a ChatOpenAI"):
            ask()


@pytest.mark.parametrize("form", ["mapping", "path", "object"])
def test_it_does_not_take_over_an_endpoint_of_the_configuration(
    form: str, tmp_path: Path, direct: Emulator, emulator: Emulator, make: Make
) -> None:
    """Else the configuration's models would be asked at another URL, with another key."""
    text = f"default_chain: ['openai:{DIRECT}']\nendpoints: {{openai: {{base_url: '{direct.base_url}'}}}}\n"
    path = tmp_path / "fallback.yaml"
    path.write_text(text)
    config = {
        "mapping": load_config(path).model_dump(exclude_defaults=True),
        "path": str(path),
        "object": load_config(path),
    }
    llm = make(config=config[form], models=[GPT, built(ChatOpenAI, model="gpt-5.1", api_key="k")])

    endpoints = llm.client.config.endpoints
    assert (endpoints["openai"].base_url, endpoints["openai-2"].base_url) == (
        direct.base_url,
        "https://api.openai.com/v1",
    )
    assert llm.models == [GPT, ModelConfig("openai-2:gpt-5.1")]


def test_two_of_one_server_share_an_endpoint_and_two_keys_do_not(direct: Emulator) -> None:
    def model(name: str, key: str) -> Any:
        return built(ChatOpenAI, model=name, base_url=direct.base_url, api_key=key)

    llm = ChatOpenRouterFallback(models=[model("a", "k1"), model("b", "k1"), model("a", "k2")], api_key="x")
    assert llm.models == [ModelConfig("127.0.0.1:a"), ModelConfig("127.0.0.1:b"), ModelConfig("127.0.0.1-2:a")]


@pytest.mark.parametrize("given", [(), ("base_url",), ("base_url", "api_key")], ids=["nothing", "URL", "both"])
def test_a_chat_openai_on_openrouter_is_a_model_of_the_chain(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...]
) -> None:
    """As `with_fallbacks` was used with OpenRouter: no endpoint of its own, which would have no prices."""
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    monkeypatch.setenv("OPENROUTER_BASE_URL", "" if given else emulator.base_url)
    to = {"base_url": emulator.base_url, "api_key": emulator.api_key}
    first, second = (built(ChatOpenAI, model=model, temperature=0.3, **to) for model in (GPT, CLAUDE))
    llm = built(ChatOpenRouterFallback, models=[first, second], **{name: to[name] for name in given})

    assert llm.client.route().candidates == (GPT, CLAUDE)
    assert llm.invoke("hello").response_metadata["attempts"][0]["endpoint"] == "openrouter"
    assert emulator.log[0].body["temperature"] == 0.3


@pytest.mark.parametrize(
    "theirs", [{"api_key": "sk-or-v1-other"}, {"default_headers": {"X-Theirs": "1"}}], ids=["key", "headers"]
)
def test_one_with_another_key_or_headers_is_not(emulator: Emulator, make: Make, theirs: dict[str, Any]) -> None:
    model = built(ChatOpenAI, **{"model": CLAUDE, "base_url": emulator.base_url, "api_key": emulator.api_key, **theirs})
    assert make(models=[GPT, model]).client.route().candidates == (GPT, f"127.0.0.1:{CLAUDE}")


def test_its_parameters_are_the_candidates_own(emulator: Emulator, make: Make, direct: Emulator) -> None:
    theirs = built(ChatOpenAI, model="m", base_url=direct.base_url, api_key=direct.api_key, temperature=0.9, seed=3)
    llm = make(models=[theirs, GPT])
    llm.invoke("hello", temperature=0.1)
    body = direct.log[0].body
    assert (body["temperature"], body["seed"]) == (0.1, 3)


def test_openais_own_api_takes_the_new_name_for_the_limit() -> None:
    theirs = built(ChatOpenAI, model="gpt-5.1", max_tokens=9, api_key="k")
    (model,) = ChatOpenRouterFallback(models=[theirs], api_key="x").models or [GPT]
    assert isinstance(model, ModelConfig)
    assert (model.id, dict(model.params)) == ("openai:gpt-5.1", {"max_completion_tokens": 9})


def test_a_key_from_openais_own_variable_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-environment")
    llm = ChatOpenRouterFallback(models=[GPT, built(ChatOpenAI, model="gpt-5.1")], api_key="x")
    again = pickle.loads(pickle.dumps(llm))
    assert again.client.config.endpoints["openai"].api_key_env == "OPENAI_API_KEY"


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (lambda: FakeListChatModel(responses=["x"]), "FakeListChatModel"),
        (lambda: FakeListChatModel(responses=["x"]).with_fallbacks([]), "can follow the whole chain"),
        (lambda: built(ChatOpenRouter, model=GPT, api_key="k"), "from_chat_model(llm, models=[...])"),
        (
            lambda: built(AzureChatOpenAI, azure_endpoint="https://x.y", api_version="1", model="m", api_key="k"),
            "AzureChatOpenAI whose URL has query parameters",
        ),
        (lambda: built(ChatOpenAI, model="m", api_key="k", openai_proxy="http://127.0.0.1:1"), "HTTPS_PROXY"),
        (lambda: built(ChatOpenAI, model="m", api_key=lambda: "k"), "a function"),
    ],
    ids=["another", "with_fallbacks", "ChatOpenRouter", "Azure", "proxy", "key function"],
)
def test_what_cannot_stand_in_a_chain_is_told(model: Any, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        ChatOpenRouterFallback(models=[GPT, model()], api_key="x")
    assert told in str(raised.value)


class Silent(BaseCallbackHandler):
    pass


def test_the_settings_of_a_chat_openrouter(emulator: Emulator) -> None:
    callback = Silent()
    theirs = built(
        ChatOpenRouter,
        model=GPT,
        api_key=emulator.api_key,
        base_url=emulator.base_url,
        temperature=0.4,
        max_tokens=99,
        timeout=5000,
        max_retries=0,
        reasoning={"effort": "low"},
        openrouter_provider={"max_price": {"prompt": 7}},
        plugins=[{"id": "web"}],
        app_url="https://mine.org",
        default_headers={"X-Mine": "1"},
        session_id="s",
        stop=["END"],
        model_kwargs={"top_k": 4},
        callbacks=[callback],
        app_categories=["cli-agent"],
    )
    llm = ChatOpenRouterFallback.from_chat_model(theirs, models=[CLAUDE])
    llm.invoke("hello")

    assert (llm.models, llm.request_timeout, llm.max_retries) == ([GPT, CLAUDE], 5.0, 0)
    assert (llm.callbacks, llm.app_title) == ([callback], None)
    (request,) = emulator.log
    expected = {
        "model": GPT,
        "temperature": 0.4,
        "max_tokens": 99,
        "reasoning": {"effort": "low"},
        "provider": {"max_price": {"prompt": 7}},
        "plugins": [{"id": "web"}],
        "session_id": "s",
        "stop": ["END"],
        "top_k": 4,
    }
    assert {name: request.body[name] for name in expected} == expected
    assert (request.headers["http-referer"], request.headers["x-mine"]) == ("https://mine.org", "1")
    assert request.headers["x-openrouter-categories"] == "cli-agent"


def test_a_chain_of_fallbacks_becomes_one(emulator: Emulator, direct: Emulator, openai_model: ChatOpenAI) -> None:
    """Each model with what its own user has said of it; the client's settings are the first one's."""
    one: dict[str, Any] = {"api_key": emulator.api_key, "base_url": emulator.base_url}
    first = built(ChatOpenRouter, model=GPT, temperature=0.4, timeout=5000, **one)
    second = built(
        ChatOpenRouter,
        model=CLAUDE,
        temperature=0.7,
        timeout=9000,
        max_retries=0,
        openrouter_provider={"order": ["anthropic"]},
        **one,
    )
    llm = ChatOpenRouterFallback.from_chat_model(first.with_fallbacks([second]).with_fallbacks([openai_model]))

    assert llm.models == [
        ModelConfig(GPT, timeout=5.0, params={"temperature": 0.4}),
        ModelConfig(
            CLAUDE,
            timeout=9.0,
            max_retries=1,
            params={"temperature": 0.7, "provider": {"order": ["anthropic"]}},
        ),
        ModelConfig(f"127.0.0.1:{DIRECT}"),
    ]
    assert (llm.request_timeout, llm.temperature) == (None, None)  # they would hold for all
    emulator.fault("temporarily_unavailable")
    told = llm.invoke("hello").response_metadata
    assert told["attempts"][-1]["model"] == f"127.0.0.1:{DIRECT}"
    assert [emulator.count(model) > 0 for model in (GPT, CLAUDE)] == [True, True]
    assert (direct.count(), emulator.log[1].body["provider"]) == (1, {"order": ["anthropic"]})
    sent = {request.model: request.body.get("temperature") for request in (*emulator.log, *direct.log)}
    assert sent == {GPT: 0.4, CLAUDE: 0.7, DIRECT: None}


def test_each_model_of_fallbacks_is_sent_its_own_parameters_alone(emulator: Emulator) -> None:
    """What only the first model was given is not imposed on the others, who may refuse it; the thread is everyone's."""
    one: dict[str, Any] = {"api_key": emulator.api_key, "base_url": emulator.base_url}
    first = built(
        ChatOpenRouter,
        model=GPT,
        max_tokens=7,
        reasoning={"effort": "high"},
        model_kwargs={"top_k": 3},
        openrouter_provider={"order": ["openai"]},
        session_id="thread",
        app_title="Mine",
        **one,
    )
    llm = ChatOpenRouterFallback.from_chat_model(first.with_fallbacks([built(ChatOpenRouter, model=CLAUDE, **one)]))
    emulator.fault("temporarily_unavailable", model=GPT)
    llm.invoke("hello")
    own = {"max_tokens", "reasoning", "top_k", "provider"}
    assert [own & request.body.keys() for request in emulator.log] == [own, set()]
    assert [request.body["session_id"] for request in emulator.log] == ["thread", "thread"]
    assert [request.headers["x-title"] for request in emulator.log] == ["Mine", "Mine"]
    emulator.clear()
    emulator.fault("temporarily_unavailable", model=GPT)
    llm.invoke("hello", max_tokens=9)
    assert {request.body["max_tokens"] for request in emulator.log} == {9}


def test_those_that_name_no_server_are_asked_where_the_environment_says(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENROUTER_BASE_URL", emulator.base_url)
    monkeypatch.setenv("OPENROUTER_API_KEY", emulator.api_key)
    emulator.fault("temporarily_unavailable", model=GPT)
    chain = built(ChatOpenRouter, model=GPT).with_fallbacks([built(ChatOpenRouter, model=CLAUDE)])
    assert ChatOpenRouterFallback.from_chat_model(chain).invoke("hello").response_metadata["model_name"] == CLAUDE


def test_which_exceptions_led_on_is_the_policys(caplog: pytest.LogCaptureFixture) -> None:
    theirs = built(ChatOpenRouter, model=GPT, api_key="k")
    narrow = theirs.with_fallbacks([theirs], exceptions_to_handle=(KeyError, ValueError))
    assert ChatOpenRouterFallback.from_chat_model(narrow).models == [GPT]
    assert "exceptions_to_handle=(KeyError, ValueError)) is not taken over" in caplog.text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda llm: llm.with_fallbacks([llm], exception_key="error"), "passes no exception to its models"),
        (lambda llm: llm.bind_tools([]).with_fallbacks([llm]), r"from_chat_model\(...\).bind_tools"),
        (lambda llm: llm.with_retry(), "retries are its own"),
        (lambda llm: llm.with_fallbacks([FakeListChatModel(responses=["x"])]), "holds a FakeListChatModel"),
        (lambda llm: llm.with_fallbacks([built(ChatOpenRouter, model=CLAUDE, api_key="other")]), "URL and key"),
        (lambda llm: "a/b", "found a str"),
    ],
    ids=["exception key", "tools", "retry", "another", "another key", "an id"],
)
def test_a_chain_that_cannot_be_taken_over_is_told(change: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        ChatOpenRouterFallback.from_chat_model(change(built(ChatOpenRouter, model=GPT, api_key="k")))


def test_a_long_timeout_that_is_known_to_be_one_is_taken_over() -> None:
    for theirs in (
        built(ChatOpenAI, model=GPT, base_url="https://openrouter.ai/api/v1", api_key="k", timeout=1200),
        built(ChatOpenRouter, model=GPT, api_key="k", timeout=1_200_000),
    ):
        settings = ChatOpenRouterFallback.from_chat_model(theirs).client.config.settings
        assert settings.first_token_timeout_seconds == 1200


def test_the_settings_of_a_chat_openai_on_openrouter(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_BASE_URL", emulator.base_url)
    theirs = built(
        ChatOpenAI,
        model=GPT,
        base_url=emulator.base_url,
        api_key=emulator.api_key,
        temperature=0.4,
        timeout=7,
        max_retries=3,
        extra_body={"reasoning": {"effort": "low"}},
        default_headers={"X-Mine": "1"},
    )
    llm = ChatOpenRouterFallback.from_chat_model(theirs, models=[CLAUDE], temperature=0.6)
    llm.invoke("hello")
    assert (llm.models, llm.request_timeout, llm.max_retries) == ([GPT, CLAUDE], 7.0, 3)
    (request,) = emulator.log
    assert (request.body["temperature"], request.body["reasoning"]) == (0.6, {"effort": "low"})
    assert request.headers["x-mine"] == "1"


def test_the_settings_of_a_chat_openai_elsewhere(
    emulator: Emulator, direct: Emulator, openai_model: ChatOpenAI
) -> None:
    llm = ChatOpenRouterFallback.from_chat_model(
        openai_model, models=[GPT], base_url=emulator.base_url, api_key=emulator.api_key
    )
    direct.fault("server")
    undiced(llm.client)
    assert llm.invoke("hello").response_metadata["model_name"] == GPT
    assert direct.count(DIRECT) > 0
    assert "x-theirs" not in emulator.log[0].headers


def test_only_those_can_be_taken_over() -> None:
    with pytest.raises(ConfigError, match="FakeListChatModel"):
        ChatOpenRouterFallback.from_chat_model(FakeListChatModel(responses=["x"]))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"openai_proxy": "http://127.0.0.1:1"}, "HTTPS_PROXY"),
        ({"http_client": httpx.Client()}, "HTTPS_PROXY"),
        ({"default_query": {"tenant": "1"}}, "has query parameters"),
    ],
    ids=["proxy", "client", "query"],
)
def test_a_way_to_openrouter_that_cannot_be_taken_over_is_told(given: Any, told: str) -> None:
    theirs = built(ChatOpenAI, model=GPT, base_url="https://openrouter.ai/api/v1", api_key="k", **given)
    with pytest.raises(ConfigError, match=told):
        ChatOpenRouterFallback.from_chat_model(theirs)


def test_nothing_meant_for_openai_leaks_in(emulator: Emulator, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = emulator.refused_url()
    for name, value in {
        "OPENAI_API_KEY": "sk-proj-leak",
        "OPENAI_API_BASE": nowhere,
        "OPENAI_BASE_URL": nowhere,
        "OPENAI_ORG_ID": "org-leak",
        "OPENAI_ORGANIZATION": "org-leak",
        "OPENAI_PROXY": nowhere,
        "LANGSMITH_GATEWAY": "true",
        "LANGSMITH_API_KEY": "lsv2_leak",
        "LANGCHAIN_OPENAI_STREAM_CHUNK_TIMEOUT_S": "0.000001",
        "LC_OUTPUT_VERSION": "responses/v1",
    }.items():
        monkeypatch.setenv(name, value)
    llm = make(models=[GPT])
    assert isinstance(llm.invoke("hello").content, str)
    asyncio.run(llm.ainvoke("hello"))
    for request in emulator.log:
        assert "leak" not in str(request.headers) + str(request.body)


def test_importing_it_imports_no_openai_and_no_framework_but_the_core() -> None:
    code = "import sys, langchain_openrouter_fallback; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert {"openai", "langchain_openai", "langchain", "langgraph", "tiktoken"} & set(done.stdout.split()) == set()


def test_what_it_imports_is_what_its_extra_declares() -> None:
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    imported = set()
    for path in (root / "src" / "langchain_openrouter_fallback").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and not node.level:
                imported.add((node.module or "").partition(".")[0])
            elif isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
    foreign = imported - set(sys.stdlib_module_names) - {"openrouter_fallback"}
    assert foreign == {"langchain_core", "pydantic"}
    (needed,) = project["optional-dependencies"]["langchain"]
    assert needed.startswith("langchain-core>=1.6")
