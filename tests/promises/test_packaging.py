"""What is shipped: the public names, what importing them costs, and what the files beside the code say."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import openrouter_fallback

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())

PUBLIC = [
    "AllModelsFailedError",
    "AsyncStream",
    "Attempt",
    "AuthenticationError",
    "Catalog",
    "CatalogError",
    "Completion",
    "ConfigError",
    "ContentPolicyError",
    "ContextLengthError",
    "DeadlineExceededError",
    "EndpointConfig",
    "Failure",
    "FailureKind",
    "FallbackClient",
    "FallbackConfig",
    "FallbackError",
    "HealthTracker",
    "HedgeConfig",
    "InsufficientCreditsError",
    "InvalidRequestError",
    "LocalError",
    "ModelConfig",
    "ModelHealth",
    "ModelInfo",
    "PermissionDeniedError",
    "Piece",
    "RateLimitedError",
    "Route",
    "Settings",
    "Skipped",
    "Spend",
    "SpendLimit",
    "SpendLimitError",
    "Stream",
    "StreamInterruptedError",
    "ToolCall",
    "Usage",
    "__version__",
    "config_schema",
    "current_routing",
    "load_config",
    "routing",
]
# The extra that a part of the package needs; all others need none.
EXTRAS = {
    "cli": "cli",
    "drill": "cli",
    "drill/reporting/charts.py": "report",
    "drill/page.py": "report",
    "drill/surfaces/langchain.py": "langchain",
    "drill/surfaces/llamaindex.py": "llamaindex",
    "emulator": "emulator",
    "health/shared/redis.py": "redis",
    "telemetry/otel.py": "otel",
    "picture.py": "report",
    "serve": "serve",
}
DISTRIBUTIONS = {"yaml": "pyyaml", "pydantic_core": "pydantic", "opentelemetry": "opentelemetry-api"}
DISTRIBUTIONS |= {"vl_convert": "vl-convert-python", "llama_index": "llama-index-core"}
OWN = ("openrouter_fallback", "langchain_openrouter_fallback", "llamaindex_openrouter_fallback", "pytest")
FOREIGN = {
    "langchain",
    "langchain_core",
    "langchain_openai",
    "llama_index",
    "openai",
    "opentelemetry",
    "prometheus_client",
    "redis",
    "rich",
    "starlette",
    "typer",
    "uvicorn",
}


def test_the_public_names() -> None:
    assert openrouter_fallback.__all__ == PUBLIC
    assert sorted(PUBLIC) == PUBLIC
    assert [name for name in PUBLIC if not hasattr(openrouter_fallback, name)] == []


@pytest.mark.parametrize("name", [name for name in PUBLIC if name != "__version__"])
def test_a_public_name_is_documented(name: str) -> None:
    thing = getattr(openrouter_fallback, name)
    # A dataclass without a docstring gets its signature as one.
    assert thing.__doc__
    assert not thing.__doc__.startswith(f"{name}(")
    if inspect.isclass(thing):
        bare = [
            member
            for member, value in vars(thing).items()
            if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property | classmethod))
            if not inspect.getdoc(getattr(thing, member))
        ]
        assert bare == []


def test_a_public_name_brings_only_what_it_needs() -> None:
    code = (
        "import sys; import openrouter_fallback as public; loaded = lambda: {*sys.modules};"
        "assert not {'pydantic', 'asyncio', 'openrouter_fallback.errors'} & loaded();"
        "assert set(public.__all__) <= set(dir(public));"
        "public.ConfigError, public.Failure; assert 'pydantic' not in loaded();"
        "public.load_config; assert not {'asyncio', 'openrouter_fallback.client'} & loaded();"
        "public.FallbackClient; assert 'openrouter_fallback.client' in loaded(); public.Nothing"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.endswith("AttributeError: module 'openrouter_fallback' has no attribute 'Nothing'\n")


def test_the_long_description_has_only_absolute_links() -> None:
    hook = importlib.import_module("scripts.metadata_hook")
    metadata: dict[str, Any] = {"urls": {"Repository": "https://forge.example/us/it/"}}
    hook.CustomMetadataHook(str(ROOT), {}).update(metadata)
    text = metadata["readme"]["text"]
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert len(links) > 20
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    assert "(https://forge.example/us/it/raw/main/docs/drawn/timeline.svg)" in text
    assert "(https://forge.example/us/it/blob/main/docs/getting-started.md)" in text


def test_the_addresses_of_the_project_are_all_of_one_repository() -> None:
    urls = PROJECT["project"]["urls"]
    assert {"Repository", "Documentation", "Changelog", "Issues"} == urls.keys()
    assert [url for url in urls.values() if not url.startswith(urls["Repository"])] == []


def test_the_classifiers_name_the_pythons_on_which_the_nightly_run_tests() -> None:
    named = [one for one in PROJECT["project"]["classifiers"] if re.search(r":: 3\.\d+$", one)]
    minors = [int(one.rpartition(".")[2]) for one in named]
    floor = PROJECT["project"]["requires-python"]
    nightly = (ROOT / ".ci" / "nightly").read_text()
    every = re.search(r"^minors=\(([\d ]+)\)$", nightly, re.MULTILINE)
    assert floor == f">=3.{minors[0]}"
    assert every is not None
    assert minors == [int(one) for one in every[1].split()][: len(minors)]
    assert re.search(
        r'^ +for part in "\$\{parts\[@\]\}"; do cell "\$version/newest/tests/\$part"', nightly, re.MULTILINE
    )
    rows = re.findall(r"^\| (3[\d., ]+) \|", (ROOT / "docs" / "versioning.md").read_text(), re.MULTILINE)
    assert {version for row in rows for version in row.split(", ")} == {f"3.{minor}" for minor in minors}
    *first, last = [f"3.{minor}" for minor in minors]
    assert f"with {', '.join(first)} and {last}." in (ROOT / "README.md").read_text()


def test_llamahub_is_given_a_package_and_a_class_that_exist() -> None:
    hub = PROJECT["tool"]["llamahub"]
    assert {"contains_example", "import_path", "class_authors"} == hub.keys()
    package = pytest.importorskip(hub["import_path"], reason="needs LlamaIndex")
    assert hub["class_authors"].keys() == {"OpenRouterFallback"} <= set(package.__all__)


def test_the_types_are_shipped() -> None:
    assert (Path(openrouter_fallback.__file__).parent / "py.typed").is_file()


def test_importing_the_core_imports_no_framework_and_no_extra() -> None:
    code = "from openrouter_fallback import *; import sys; print(*{name.partition('.')[0] for name in sys.modules})"

    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert FOREIGN & set(done.stdout.split()) == set()
    assert "openrouter_fallback" in done.stdout.split()


def test_the_version_is_the_newest_of_the_changelog() -> None:
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert versions[0] == openrouter_fallback.__version__ == importlib.metadata.version("openrouter-fallback")


@pytest.mark.parametrize("extra", ["", *sorted(set(EXTRAS.values()))], ids=lambda extra: extra or "core")
def test_what_is_imported_is_what_is_declared(extra: str) -> None:
    source = Path(openrouter_fallback.__file__).parent
    files = [path for path in source.rglob("*.py") if _extra(path.relative_to(source)) == extra]
    core = {_name(requirement) for requirement in PROJECT["project"]["dependencies"]}

    imported = {_name(DISTRIBUTIONS.get(name, name)) for path in files for name in _foreign_imports(path)}

    if not extra:
        assert imported == core
    else:
        needed = {_name(need) for need in PROJECT["project"]["optional-dependencies"][extra]}
        # An extra may bound what the core needs anyway.
        assert imported - core == needed - core


def test_constraints_pin_all_that_is_installed_for_development() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)] == []
    pinned = {_name(line) for line in lines}
    assert len(pinned) == len(lines)

    assert set(_needed()) - pinned == set()


def _extra(path: Path) -> str:
    return EXTRAS.get(path.as_posix(), EXTRAS.get(path.parts[0], ""))


def _foreign_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        for name in names:
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names and top not in OWN:
                yield top


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def _needed() -> Iterator[str]:
    """The project's requirements of every kind and, of those installed here, theirs in turn."""
    extras = PROJECT["project"]["optional-dependencies"].values()
    groups = PROJECT["dependency-groups"].values()
    asked = [*PROJECT["project"]["dependencies"], *(one for many in (*extras, *groups) for one in many)]
    # What is no string includes another group.
    todo = [_name(requirement) for requirement in asked if isinstance(requirement, str)]
    seen = {"openrouter-fallback"}
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        yield name
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        # A marker says "another platform, another Python or an extra": only what is installed for none of these counts.
        todo += [_name(need) for need in needs if ";" not in need]
