"""What an editor shows of a constructor: every argument of ours with its type, before and after the first instance."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from langchain_openrouter_fallback import ChatOpenRouterFallback
from langchain_openrouter_fallback.base import Configured
from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback import ConfigError

CHAT, LLM = ChatOpenRouterFallback, OpenRouterFallback
SHOWN: dict[str, list[str]] = {
    "ChatOpenRouterFallback": ["models", "model", "config", "task", "temperature", "api_key", "timeout", "settings"],
    "OpenRouterFallback": ["models", "config", "task", "temperature", "api_key", "timeout", "settings", "max_price"],
    "FallbackClient": ["models", "config", "base_url", "api_key", "settings", "headers", "app_url", "app_title"],
}
MODULES = {
    "ChatOpenRouterFallback": "langchain_openrouter_fallback",
    "OpenRouterFallback": "llamaindex_openrouter_fallback",
    "FallbackClient": "openrouter_fallback",
}
PRINTED = """
import inspect
from {1} import {0}
for name, one in inspect.signature({0}).parameters.items():
    print(name if one.annotation is not one.empty else f"{{name}}, without a type")
"""


@pytest.mark.parametrize("name", SHOWN)
def test_the_arguments_are_shown_before_the_first_instance(name: str) -> None:
    code = PRINTED.format(name, MODULES[name])
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert shown[0] == "models"
    assert [one for one in SHOWN[name] if one not in shown] == []
    assert not {"args", "kwargs", "given", "options", "data"} & set(shown)


@pytest.mark.parametrize(
    ("cls", "own", "hidden"),
    [
        (ChatOpenRouterFallback, Configured.__annotations__, {"core"}),
        (OpenRouterFallback, OpenRouterFallback.__annotations__, set()),
    ],
    ids=["LangChain", "LlamaIndex"],
)
@pytest.mark.parametrize("built", [False, True], ids=["declared", "after the first instance"])
def test_each_field_is_an_argument_and_each_argument_a_field(
    cls: Any, own: dict[str, Any], hidden: set[str], *, built: bool
) -> None:
    if built:
        cls(["a/b"], api_key="x")
    parameters = dict(inspect.signature(cls if built else cls.__init__).parameters)
    parameters.pop("self", None)
    fields = {name: field.alias or name for name, field in cls.model_fields.items() if name not in hidden}
    mine = {alias for name, alias in fields.items() if name in own}
    shown = {fields.get(name, name) for name in parameters}
    assert mine <= shown <= set(fields.values())
    assert [name for name, one in parameters.items() if one.annotation is inspect.Parameter.empty] == []
    assert {one.kind for name, one in parameters.items() if name != "models"} == {inspect.Parameter.KEYWORD_ONLY}


def _fields(cls: Any) -> dict[str, Any]:
    return {name: field.default for name, field in cls.model_fields.items() if field.default_factory is None}


@pytest.mark.parametrize("cls", [ChatOpenRouterFallback, OpenRouterFallback])
def test_the_declared_defaults_are_those_of_the_fields(cls: Any) -> None:
    names = {field.alias or name: name for name, field in cls.model_fields.items()}
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        if name != "self" and (default := _fields(cls).get(names.get(name, name), None)) is not None:
            assert parameter.default == default, name


# A `type: ignore[call-arg]` marks what a type checker refuses; mypy complains where it does not.
WRONG: list[Callable[[], Any]] = [
    lambda: CHAT(["a/b"], temprature=0.5),  # type: ignore[call-arg]
    lambda: CHAT(["a/b"], fallback_models=["a/b"]),  # type: ignore[call-arg]
    lambda: LLM(["a/b"], temprature=0.5),  # type: ignore[call-arg]
    lambda: LLM(["a/b"], model="a/b"),  # type: ignore[call-arg]
    lambda: CHAT(["a/b"], temperature="hot"),  # type: ignore[arg-type]
    lambda: LLM(["a/b"], temperature="hot"),  # type: ignore[arg-type]
    lambda: CHAT(config={"default_chian": ["a/b"]}),
    lambda: LLM(config={"default_chian": ["a/b"]}),
]


@pytest.mark.parametrize("make", WRONG)
def test_a_wrong_argument_is_told_as_before(make: Callable[[], Any]) -> None:
    with pytest.raises(ConfigError, match=r"did you mean|Did you mean|takes no model=|temperature"):
        make()
