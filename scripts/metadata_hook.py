"""The long description for a package index: README.md with absolute links.

Hatchling runs this hook in every build. The links of README.md are relative; on an index they would break. The URL of
the repository is set only in `[project.urls]` of pyproject.toml, by the release.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

PLACEHOLDER = "https://repository.invalid/"
"""The beginning of the repository's URL before a release has set it."""
_LINK = re.compile(r"(!?)(\[(?:[^\[\]]|\[[^\]]*\])*\])\((?![a-z]+:|#)([^)\s]+)\)")


def absolute(text: str, repository: str) -> str:
    """`text` with its relative links made absolute: pages under `blob`, pictures under `raw` of the main branch."""

    def led(found: re.Match[str]) -> str:
        kind = "raw" if found[1] else "blob"
        return f"{found[1]}{found[2]}({repository.rstrip('/')}/{kind}/main/{found[3]})"

    return _LINK.sub(led, text)


class CustomMetadataHook(MetadataHookInterface):
    """Fills `readme`, which is dynamic in pyproject.toml."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the long description. Hatchling calls this with the `[project]` table."""
        readme = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        text = absolute(readme, metadata["urls"]["Repository"])
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
