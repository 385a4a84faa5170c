"""Reads YAML with line numbers, safely and strictly: no duplicate keys, no second document, no tags, no alias bombs.

Reads all files that users write: configurations, scripts of the emulator, scenarios of the drill. The module imports
only `source` from this package, because the emulator must not depend on the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn, Protocol, cast

import yaml

from .source import Mistake, Path, Source, quote

MAX_BYTES = 1 << 20
MAX_NODES = 50_000  # after aliases are expanded
MAX_DEPTH = 40

_TAG = "tag:yaml.org,2002:"
_READS_AS = {
    "int": "a number",
    "float": "a number",
    "bool": "a boolean",
    "null": "nothing",
    "timestamp": "a date",
    "merge": "a sign of its own",
    "value": "a sign of its own",
}

# Advice for PyYAML's error messages, by a part of their text. The first match wins.
_HINTS = (
    ("'\\t'", "A tab was found; YAML is indented with spaces."),
    ("expected a single document", "Only one document is allowed: remove what follows `---`."),
    ("mapping values are not allowed", "Quote a text that contains ': ', and check the indentation."),
    ("undefined alias", "A text that begins with '*' must be quoted."),
    ("cannot start any token", "A text that begins with this character must be quoted."),
    ("could not find expected ':'", "A key needs a colon and a blank after it."),
    ("while parsing a flow", "Check that every bracket and brace is closed, and the commas between entries."),
    ("while scanning a quoted scalar", "Check that every quotation mark is closed."),
    ("while parsing a block", "Check the indentation of this line and of the lines around it."),
)


class Show(Protocol):
    """Formats a found value for a message: short, and without a possible API key."""

    def __call__(self, value: object, path: Path = ()) -> str:
        """The text of the `value` at `path`."""


def read_yaml(
    path: str | os.PathLike[str],
    error: type[Exception],
    *,
    purpose: str,
    show: Show = lambda value, path=(): repr(value)[:60],
    mask: Callable[[str], str] = str,
) -> Source:
    """The content of a YAML file; `data` is None for an empty file. Raises `error` if the file is not readable YAML.

    `purpose` says what the file should be ("configuration"); `show` and `mask` keep keys out of messages.
    """
    name = os.fsdecode(path)
    try:
        text = _decode(name, _read(name, purpose))
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            return Source(name) if root is None else _Builder(name, loader, show).build(root)
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as failed:
        line, code = text.count("\n", 0, failed.position) + 1, int(failed.character)
        said = f"{name}, line {line}: the character U+{code:04X} is not allowed in YAML; remove it."
    except yaml.MarkedYAMLError as failed:
        said = _syntax_error(name, failed, mask)
    except RecursionError:
        said = f"{name} is nested too deeply to be a {purpose}."
    except _UnreadableError as failed:
        said = str(failed)
    raise error(said)


class _UnreadableError(Exception):
    """The file cannot be read at all."""


def _read(name: str, purpose: str) -> bytes:
    try:
        with open(name, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        reason = "there is no such file; check the path, which is relative to the working directory."
    except IsADirectoryError:
        reason = "this is a directory; name the YAML file in it."
    except PermissionError:
        reason = "the file may not be read; check its permissions."
    except (OSError, ValueError) as error:
        reason = f"the file cannot be read ({getattr(error, 'strerror', None) or error})."
    else:
        if len(content) <= MAX_BYTES:
            return content
        reason = f"the file is larger than {MAX_BYTES >> 20} MiB, which no {purpose} needs."
    raise _UnreadableError(f"{name!r}: {reason}")


def _decode(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
    raise _UnreadableError(f"{name}, line {line}: not UTF-8; save the file with the encoding UTF-8.")


def _syntax_error(name: str, error: yaml.MarkedYAMLError, mask: Callable[[str], str]) -> str:
    mark = error.problem_mark or error.context_mark
    at = f", line {mark.line + 1}" if mark else ""
    begun = error.context_mark
    since = f"which begins in line {begun.line + 1}:" if begun and mark and begun.line < mark.line else ""
    said = mask(" ".join(part for part in (error.context, since, error.problem) if part))
    hint = next((hint for piece, hint in _HINTS if piece in said), "Quote texts that contain special characters.")
    return f"{name}{at}: YAML syntax: {said}. {hint}"


class _Builder:
    """Converts YAML nodes to plain data. Records lines and mistakes."""

    def __init__(self, name: str, loader: yaml.SafeLoader, show: Show) -> None:
        self.name = name
        self.show = show
        self.loader = loader
        self.lines: dict[Path, int] = {}
        self.texts: dict[Path, str] = {}
        self.mistakes: list[Mistake] = []
        self.nodes = 0

    def build(self, root: yaml.Node) -> Source:
        self.lines[()] = _line(root)
        data = self.value(root, ())
        return Source(self.name, data, self.lines, self.texts, self.mistakes)

    def stop(self, node: yaml.Node, said: str) -> NoReturn:
        raise _UnreadableError(f"{self.name}, line {_line(node)}: {said}")

    def count(self, node: yaml.Node, path: Path) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self.stop(node, f"more than {MAX_NODES:,} values once aliases are written out.")
        if len(path) > MAX_DEPTH:
            self.stop(node, f"nested more than {MAX_DEPTH} levels deep; check for an alias inside what it names.")

    def value(self, node: yaml.Node, path: Path) -> object:
        self.count(node, path)
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            items: list[object] = []
            for index, item in enumerate(node.value):
                self.lines[(*path, index)] = _line(item)
                items.append(self.value(item, (*path, index)))
            return items
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        self.mistakes.append(self.unknown_tag(node, path))
        return None

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        out: dict[str, object] = {}
        first: dict[str, int] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                merged.append(value_node)
                continue
            key = self.key(key_node, path)
            at = (*path, key)
            if key in first:
                both = f"lines {first[key]} and {_line(key_node)}"
                said = f"the key is given twice, on {both}; YAML would keep only the last. Remove one."
                self.mistakes.append(Mistake(at, said))
                self.lines[at] = _line(key_node)
                continue
            first[key] = _line(key_node)
            self.lines[at] = _line(value_node if isinstance(value_node, yaml.ScalarNode) else key_node)
            out[key] = self.value(value_node, at)
        for source in merged:
            self.merge(source, path, out)
        return out

    def merge(self, node: yaml.Node, path: Path, out: dict[str, object]) -> None:
        """Merge `<<: *alias` into `out`. A key of the mapping itself wins."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                self.stop(source, "`<<` merges a mapping or a list of mappings; anything else is not allowed.")
            wanted = [pair for pair in source.value if not (_is_text(pair[0]) and pair[0].value in out)]
            fresh = yaml.MappingNode(_TAG + "map", wanted, source.start_mark, source.end_mark)
            self.count(source, path)
            for key, value in self.mapping(fresh, path).items():
                out.setdefault(key, value)

    def key(self, node: yaml.Node, path: Path) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self.stop(node, f"a key must be a text; found {_kind(node)}.")
        text = str(node.value)
        tag = _tag(node)
        if tag != "str":
            self.lines[(*path, text)] = _line(node)
            reads = f"which YAML reads as {_READS_AS.get(tag, 'something else')}"
            said = f"found the key {text[:60]}, {reads}; allowed is a string: quote it, {quote(text[:60])}."
            self.mistakes.append(Mistake((*path, text), said))
        return text

    def unknown_tag(self, node: yaml.Node, path: Path) -> Mistake:
        return Mistake(path, f"the YAML tag {self.show(_tag(node))} is not supported; write the value without it.")

    def scalar(self, node: yaml.ScalarNode, path: Path) -> object:
        text, tag = str(node.value), _tag(node)
        if tag == "str":
            return text
        if tag not in _READS_AS:
            self.mistakes.append(self.unknown_tag(node, path))
            return None
        self.texts[path] = text
        try:
            return cast("object", self.loader.construct_object(node))
        except (ValueError, KeyError, IndexError, AttributeError, OverflowError, yaml.YAMLError):
            pass
        said = f"found {self.show(text, path)}, which cannot be read as {_READS_AS[tag]}; quote it."
        self.mistakes.append(Mistake(path, said))
        return None


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a single value"


def _is_text(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode)


def _tag(node: yaml.Node) -> str:
    return str(node.tag).removeprefix(_TAG)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
