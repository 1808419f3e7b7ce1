"""YAML files whose errors name file and line, also those found after parsing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from devices.base.errors import DeviceError

KeyPath: TypeAlias = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """Reads `1e1` as the number it is in YAML 1.2; YAML 1.1 takes it for text, as it has no point and no sign."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)

_MAP_TAG = "tag:yaml.org,2002:map"
_LIST_TAG = "tag:yaml.org,2002:seq"


class YamlError(DeviceError):
    """A YAML file cannot be used; the text is `FILE:LINE: what was expected`."""


@dataclass(frozen=True)
class Document:
    """One parsed file: plain dicts and lists, and the line that each key stands on."""

    path: Path
    data: dict[str, Any]
    lines: dict[KeyPath, int]

    def line(self, key_path: Sequence[str | int]) -> int:
        """Line (from 1) of a key or list item, or of its nearest parent that is in the file."""
        path = tuple(key_path)
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]

    def error(self, key_path: Sequence[str | int], message: str) -> YamlError:
        """An error about one key, to be raised by the caller."""
        return YamlError(f"{self.path}:{self.line(key_path)}: {message}")


def load(path: Path) -> Document:
    """Read one YAML mapping.

    Keys are text and occur once; anchors, merges and tags are refused, so every value stands on one line.

    Raises:
        YamlError: the file is missing, is not UTF-8, or is not such a mapping.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise YamlError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise YamlError(f"{path}:{line}: expected UTF-8 text") from error
    try:
        root = yaml.compose(text, Loader=_Loader)
        if root is None:
            raise YamlError(f"{path}:1: expected keys and values, the file is empty")
        lines: dict[KeyPath, int] = {(): root.start_mark.line + 1}
        data = _Builder(path, lines).build(root, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        context = f" {error.context}" if error.context else ""
        raise YamlError(f"{path}:{line}: not valid YAML: {error.problem}{context}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(f"{path}:{line}: not valid YAML: {error.reason}") from error
    except RecursionError as error:
        raise YamlError(f"{path}:1: nested too deeply") from error
    if not isinstance(data, dict):
        raise YamlError(f"{path}:{lines[()]}: expected `key: value` lines at the top, got {_kind(data)}")
    return Document(path, data, lines)


class _Builder:
    """Turns nodes into values and notes the line of each."""

    def __init__(self, path: Path, lines: dict[KeyPath, int]) -> None:
        self._path = path
        self._lines = lines
        self._seen: set[int] = set()
        self._scalars = yaml.constructor.SafeConstructor()

    def build(self, node: yaml.Node, at: KeyPath) -> Any:
        # An alias is the very same node again.
        if id(node) in self._seen:
            raise self._error(node, "anchors and aliases are not read here; write the value out")
        self._seen.add(id(node))
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP_TAG:
            return self._mapping(node, at)
        if isinstance(node, yaml.SequenceNode) and node.tag == _LIST_TAG:
            items = []
            for index, item in enumerate(node.value):
                self._lines[(*at, index)] = item.start_mark.line + 1
                items.append(self.build(item, (*at, index)))
            return items
        if not isinstance(node, yaml.ScalarNode):
            raise self._error(node, f"tag {node.tag} is not read here")
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, at: KeyPath) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                raise self._error(key_node, f"expected a key that is text, got {_kind(key)}; put it in quotes")
            if key in mapping:
                first = self._lines[(*at, key)]
                raise self._error(key_node, f"key `{key}` occurs twice, first on line {first}")
            self._lines[(*at, key)] = key_node.start_mark.line + 1
            mapping[key] = self.build(value_node, (*at, key))
        return mapping

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        try:
            return self._scalars.construct_object(node)
        except ValueError as error:
            raise self._error(node, f"`{node.value}` is not a value: {error}") from error

    def _error(self, node: yaml.Node, message: str) -> YamlError:
        return YamlError(f"{self._path}:{node.start_mark.line + 1}: {message}")


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    return "nothing" if value is None else f"`{value}`"
