"""Copies, pickles and JSON: health is shared within a process, and no key leaves it."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.load import dumpd, dumps, load
from langchain_core.rate_limiters import InMemoryRateLimiter

from langchain_openrouter_fallback import ChatOpenRouterFallback
from langchain_openrouter_fallback import errors as ours
from langchain_openrouter_fallback.errors import twin_of
from openrouter_fallback import Attempt, EndpointConfig, FailureKind, FallbackConfig, ModelConfig
from openrouter_fallback.emulator import Emulator

from .conftest import CLAUDE, GPT, LLAMA, Make

SECRET = "sk-or-v1-very-secret"
OTHER_SECRET = "gsk-also-secret"
GROQ = EndpointConfig("https://api.groq.com/openai/v1", api_key=OTHER_SECRET)

GIVEN: dict[str, dict[str, Any]] = {
    "ids": {"models": [GPT, CLAUDE], "temperature": 0.2},
    "one": {"model": GPT},
    "objects": {"models": [ModelConfig(GPT, timeout=3.0, params={"seed": 1}), CLAUDE], "max_retries": 0},
    "a configuration": {
        "config": FallbackConfig(default_chain=(GPT,), task_chains={"coding": (CLAUDE,)}, endpoints={"groq": GROQ}),
        "task": "coding",
    },
    "a mapping": {"config": {"fallback": {"default_chain": [GPT], "settings": {"policy": "any_error"}}}},
    "endpoints": {"models": ["groq:llama-3.3", GPT], "endpoints": {"groq": GROQ}},
    "settings": {"models": [GPT], "settings": {"stall_timeout_seconds": 5.0}, "timeout": 9, "stop": ["END"]},
    "tags": {"models": [GPT], "tags": ["a"], "metadata": {"b": 1}, "disable_streaming": True},
}


def same(one: ChatOpenRouterFallback, other: ChatOpenRouterFallback) -> None:
    """What they would do, keys aside."""
    assert other.client.config.model_dump(exclude={"endpoints"}) == one.client.config.model_dump(exclude={"endpoints"})
    assert set(other.client.config.endpoints) == set(one.client.config.endpoints)
    kept_back = {name for name, field in type(one).model_fields.items() if field.exclude}  # LangChain's own choice
    fields = set(type(one).model_fields) - kept_back - {"openrouter_api_key", "config", "endpoints"}
    assert {name: getattr(other, name) for name in fields} == {name: getattr(one, name) for name in fields}


@pytest.fixture(params=GIVEN)
def given(request: pytest.FixtureRequest) -> ChatOpenRouterFallback:
    return ChatOpenRouterFallback(**GIVEN[request.param], api_key=SECRET, base_url="http://127.0.0.1:1/api/v1")


def test_a_pickle_holds_no_key(given: ChatOpenRouterFallback, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pickle.dumps(given)
    assert SECRET.encode() not in data
    assert OTHER_SECRET.encode() not in data
    monkeypatch.setenv("OPENROUTER_API_KEY", SECRET)
    again = pickle.loads(data)
    same(given, again)
    assert again.openrouter_api_key.get_secret_value() == SECRET


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_json_holds_no_key_and_loads_again(given: ChatOpenRouterFallback) -> None:
    data = dumpd(given)
    assert data["kwargs"]["openrouter_api_key"] == {"lc": 1, "type": "secret", "id": ["OPENROUTER_API_KEY"]}
    assert "secret" not in dumps(given).replace('"type": "secret"', "")
    assert "not_implemented" not in dumps(given)

    again = load(
        data,
        allowed_objects=[ChatOpenRouterFallback],
        valid_namespaces=["langchain_openrouter_fallback"],
        secrets_map={"OPENROUTER_API_KEY": SECRET},
    )

    same(given, again)
    assert again.openrouter_api_key.get_secret_value() == SECRET


def test_no_repr_holds_a_key(given: ChatOpenRouterFallback) -> None:
    assert "secret" not in repr(given) + str(given) + str(given._identifying_params) + str(given.model_dump())


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda llm: llm.model_copy(deep=True)])
def test_a_copy_keeps_what_was_learnt(emulator: Emulator, make: Make, copied: Any) -> None:
    llm = make()
    llm.client.disable(GPT)
    other = copied(llm)
    assert other.client.available() == (CLAUDE,)
    assert other.invoke("hello").response_metadata["model_name"] == CLAUDE
    if copied is not copy.copy:
        assert other.models == llm.models
        assert other.models is not llm.models


def test_a_deep_copy_shares_what_has_locks(make: Make) -> None:
    limiter, usage = InMemoryRateLimiter(requests_per_second=1000), UsageMetadataCallbackHandler()
    cache = InMemoryCache()
    other = copy.deepcopy(make(rate_limiter=limiter, callbacks=[usage], cache=cache))
    assert (other.rate_limiter, other.callbacks, other.cache) == (limiter, [usage], cache)


def test_a_copy_with_other_settings_does_as_it_says(emulator: Emulator, make: Make) -> None:
    llm = make(temperature=0.0)
    llm.model_copy(update={"temperature": 0.7}).invoke("hello")
    llm.temperature = 0.3
    llm.invoke("hello")
    assert [request.body["temperature"] for request in emulator.log] == [0.7, 0.3]


def test_a_pickled_binding_and_a_routed_copy_work(
    emulator: Emulator, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", emulator.api_key)
    bound = make().with_routing(models=[LLAMA]).bind(temperature=0.5)
    again = pickle.loads(pickle.dumps(bound))
    assert again.invoke("hello").response_metadata["model_name"] == LLAMA


def test_a_path_stays_a_path(tmp_path: Path, emulator: Emulator, make: Make) -> None:
    path = tmp_path / "fallback.yaml"
    path.write_text(f"fallback: {{default_chain: [{GPT}], task_chains: {{coding: [{CLAUDE}]}}}}")
    llm = ChatOpenRouterFallback.from_config(
        path,
        task="coding",
        base_url=emulator.base_url,
        api_key=emulator.api_key,
    )
    assert llm.invoke("hello").response_metadata["model_name"] == CLAUDE
    assert dumpd(llm)["kwargs"]["config"] == str(path)


@pytest.mark.parametrize("cls", ours.FallbackError.__subclasses__(), ids=lambda cls: cls.__name__)
def test_an_error_can_be_pickled_and_keeps_all(cls: type[ours.FallbackError]) -> None:
    attempt = Attempt(GPT, "openrouter", FailureKind.OVERLOADED, 0.1, status=503)
    theirs: Any = cls.__mro__[1]
    error = twin_of(theirs("All failed\nNext step: wait", attempts=(attempt,), retry_after=3.0, partial="so far"))
    assert type(error) is cls
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.attempts, again.retry_after, again.partial) == (
        "All failed\nNext step: wait",
        (attempt,),
        3.0,
        "so far",
    )
    assert isinstance(again, theirs)


def test_a_changed_field_is_what_the_next_call_does(emulator: Emulator, make: Make) -> None:
    llm = make()
    assert llm.model_copy(update={"models": [LLAMA]}).invoke("hello").response_metadata["model_name"] == LLAMA
    llm.models = [CLAUDE]
    assert llm.invoke("hello").response_metadata["model_name"] == CLAUDE
    llm.max_retries = 0
    emulator.fault("server", model=CLAUDE, requests=1)
    with pytest.raises(ours.FallbackError):
        llm.invoke("hello")
    assert emulator.count(CLAUDE) == 2
    assert dumpd(llm)["kwargs"]["models"] == [CLAUDE]
