"""One `ConfigError` for whatever is wrong: file, line and key, what was found and what is allowed."""

from __future__ import annotations

import contextlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openrouter_fallback.config.loading import load_config
from openrouter_fallback.config.models import EndpointConfig, FallbackConfig, ModelConfig, Settings
from openrouter_fallback.errors import ConfigError

from ..cases.mistakes import BROKEN, SETTINGS
from ..support.configs import FULL_FORM, refused


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file(name: str, write: Callable[[str], Path]) -> None:
    text, line, path, words = BROKEN[name]
    file = write(text)
    said = refused(file)
    start = str(file) + (f", line {line}" if line else "") + (f", {path}: " if path else "")
    mistakes = [m.partition(" - ")[2] for m in said.splitlines()[1:]]
    matching = [said] if not mistakes else [f"{file}, {m}" for m in mistakes if f"{file}, {m}".startswith(start)]
    assert matching, said
    assert matching[0].startswith(start), said
    assert [word for word in words if word not in matching[0]] == []


ONE_MISTAKE = set(BROKEN) - {"python tag", "kind on"}


@pytest.mark.parametrize("name", sorted(ONE_MISTAKE))
def test_one_mistake_is_told_once(name: str, write: Callable[[str], Path]) -> None:
    assert "mistakes:" not in refused(write(BROKEN[name][0]))


def test_all_mistakes_in_one_error_in_the_order_of_the_file(write: Callable[[str], Path]) -> None:
    said = refused(write(SETTINGS + "    min_samples: 0\n    skip_treshold: 1\n  task_chains:\n    off: [gpt-5]\n"))
    head, *lines = said.splitlines()
    assert head.endswith("fallback.yaml has 4 mistakes:")
    assert [line.split(",")[0].strip() for line in lines] == ["- line 4", "- line 5", "- line 7", "- line 7"]


def test_at_most_ten_are_listed() -> None:
    said = refused({"default_chain": [f"m{n}" for n in range(30)]})
    assert said.startswith("<mapping> has 30 mistakes:")
    assert said.endswith("and 20 more")
    assert len(said.splitlines()) == 12


def test_long_values_are_cut() -> None:
    said = refused({"default_chain": ["x" * 100_000], "y" * 100_000: 1})
    assert len(said) < 1_000


@pytest.mark.parametrize(
    ("other", "mistyped"),
    [
        ("openai/gpt-5-1", True),
        ("openia/gpt-5.1", True),
        ("openai/gpt-5", False),
        ("openai/gpt-5.2", False),
        ("openai/gpt-5.1-mini", False),
        ("openai/gpt-5.1:free", False),
        ("google/gemini-2.5-flash", False),
    ],
)
def test_unused_model_settings_are_allowed_unless_misspelt(other: str, mistyped: bool) -> None:
    content = {"default_chain": ["openai/gpt-5.1", "google/gemini-2.5-pro"], "models": {other: {"timeout": 5}}}
    if mistyped:
        assert "Did you mean 'openai/gpt-5.1'?" in refused(content)
    else:
        assert load_config(content).model(other).timeout == 5


def test_files_that_cannot_be_read(tmp_path: Path, write: Callable[[bytes], Path]) -> None:
    assert "no such file" in refused(tmp_path / "nothing.yaml")
    assert "is a directory" in refused(tmp_path)
    assert "cannot be read" in refused("a\0b")
    assert "line 2: not UTF-8" in refused(write(b"a: b\nc: \xff\n"))
    assert "not UTF-8" in refused(write(FULL_FORM.encode("utf-16")))
    assert "larger than 1 MiB" in refused(write(b"#" * (2 << 20)))


def test_unreadable_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", no)
    with pytest.raises(ConfigError, match="may not be read; check its permissions"):
        load_config("fallback.yaml")


@pytest.mark.parametrize("source", [3, None, [], b"x", "fallback:\n  default_chain: [a/b]"])
def test_not_a_source(source: Any) -> None:
    assert "takes the path of a YAML file or a mapping" in refused(source)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a, *a]",
        "a: &a {b: *a}",
        "a: &a {<<: *a}",
        "\n".join(
            ["a0: &a0 [x,x,x,x,x,x,x,x]", *(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 8)}]" for n in range(1, 30))]
        ),
        "\n".join(["a0: &a0 {}", *(f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 8)}]}}" for n in range(1, 30))]),
        "[" * 10_000,
        "a: " + "[" * 300 + "]" * 300,
        "? [a]\n: b",
        "a: {<<: 3}",
        "= : 1",
        "a: =",
        "!!int x: !!int x",
        "a: !!bool x\nb: !!float x\nc: !!timestamp x\nd: !!binary x\ne: 0b_\nf: !!null x",
        "&a a: *a",
        "%YAML 9.9\n---\na",
    ],
)
def test_hostile_yaml_is_refused(text: str, write: Callable[[str], Path]) -> None:
    assert len(refused(write(text))) < 5_000


def test_hostile_mappings_are_refused() -> None:
    loop: dict[str, Any] = {}
    loop["default_chain"] = [loop, loop]
    assert "nested more than" in refused(loop)
    nested: Any = []
    nested.append(nested)
    with pytest.raises(ConfigError, match="nested more than"):
        ModelConfig("a/b", params={"x": nested})
    assert "lone surrogate" in refused({"default_chain": ["a/\ud800"]})
    assert "quote it" in refused({"default_chain": ["a/b"], "task_chains": {False: ["a/b"]}})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["a/b", "next", "gpt-5"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=4) | st.sampled_from(["a/b", "id", "auth", "on_failure", "params"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
SECTIONS = st.dictionaries(st.sampled_from([*FallbackConfig.model_fields, "other"]), JSON, max_size=5)
FIELDS = st.fixed_dictionaries(
    {"default_chain": st.just(["a/b"])},
    optional={
        "settings": st.dictionaries(st.sampled_from(list(Settings.model_fields)), JSON, max_size=4),
        "models": st.dictionaries(
            st.text(max_size=5), st.dictionaries(st.sampled_from(list(ModelConfig.model_fields)), JSON), max_size=2
        ),
        "endpoints": st.dictionaries(
            st.text(max_size=5), st.dictionaries(st.sampled_from(list(EndpointConfig.model_fields)), JSON), max_size=2
        ),
        "cost_tiers": st.dictionaries(st.text(max_size=5), st.lists(st.sampled_from(["a/b", "c/d", "e"])), max_size=2),
        "tier_order": st.lists(st.text(max_size=5), max_size=2) | JSON,
    },
)


@given(st.dictionaries(st.text(max_size=4) | st.just("fallback"), JSON | SECTIONS, max_size=2) | SECTIONS | FIELDS)
@settings(max_examples=400, deadline=None)
def test_any_mapping_loads_or_is_refused(content: dict[str, Any]) -> None:
    try:
        config = load_config(content)
    except ConfigError:
        return
    assert config.chain()
    assert pickle.loads(pickle.dumps(config)).ids() == config.ids()


YAMLISH = st.text(alphabet="ab/:-[]{}&*!|>'\"#%@`,?<= \n\t019.~eynof\u0085\ufeff\x00", max_size=40)


@given(text=YAMLISH | SECTIONS.map(json.dumps))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_loads_or_is_refused(text: str, write: Callable[[str], Path]) -> None:
    file = write(text)
    with contextlib.suppress(ConfigError):
        assert load_config(file).chain()
