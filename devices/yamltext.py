"""YAML text to plain values: the one place that calls PyYAML, and the one that words what it raises.

Read are mappings, lists, text, numbers, booleans and null. What YAML 1.1 takes for something else than its writer
meant is refused: dates, `010` (8), `1:30` (90). `1e3` is a number, as in YAML 1.2; PyYAML alone takes it for text.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import yaml

from devices.base.errors import DeviceError

KeyPath: TypeAlias = tuple[str | int, ...]

DEPTH = 50
"""Levels of a document; ours have at most seven."""

_TAG = "tag:yaml.org,2002:"
_READ = {_TAG + kind for kind in ("str", "int", "float", "bool", "null", "timestamp", "value")}
_NUMBERS = (_TAG + "int", _TAG + "float")
_NUMBER_DIGITS = 400
_EXPONENT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+")
_OCTAL = re.compile(r"[-+]?0[0-9_]+")
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")
_SHOWN = 60


class YamlError(DeviceError):
    """YAML that cannot be used; the text is `FILE:LINE: what was expected`."""


class _Loader(yaml.SafeLoader):
    """Refuses aliases and deep nesting while the nodes are made, so neither takes time or stack."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) and event.anchor in self.anchors:
            mark = self.anchors[event.anchor].start_mark
            raise _RefusedError("anchors and aliases are not read here; write the value out", mark)
        if self._depth == DEPTH:
            raise _RefusedError(f"nested too deeply, more than {DEPTH} levels", event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Puts into quotes whatever text the loader would take for something else."""


for _either in (_Loader, _Dumper):
    _either.add_implicit_resolver(_TAG + "float", re.compile(f"^(?:{_EXPONENT.pattern})$"), list("-+.0123456789"))


class _RefusedError(Exception):
    """What is wrong, and the mark of where."""

    def __init__(self, message: str, mark: Any) -> None:
        super().__init__(message)
        self.line = mark.line + 1


def parse(text: str, place: Callable[[int], str]) -> tuple[Any, dict[KeyPath, int]]:
    """Values of a text, None where it says nothing, and the line (from 1) of each key and item.

    Args:
        text: One YAML document.
        place: Line → what an error begins with.

    Raises:
        YamlError: it is not YAML, or YAML that is not read here.
    """
    try:
        root = _Loader(text).get_single_node()
        lines: dict[KeyPath, int] = {(): root.start_mark.line + 1 if root is not None else 1}
        return (None if root is None else _build(root, (), lines)), lines
    except _RefusedError as error:
        raise YamlError(f"{place(error.line)}: {error}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        context = f" {error.context}" if error.context else ""
        cause = f"{error.problem}{context}"
        if re.match(r"[ ]*\t", (text.splitlines() or [""])[min(line, len(text.splitlines())) - 1]):
            cause = "a tab indents this line; YAML indents with spaces alone"
        raise YamlError(f"{place(line)}: not valid YAML: {shown(cause, 200)}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        cause = f"{error.reason} (U+{error.character:04X})" if isinstance(error.character, int) else error.reason
        raise YamlError(f"{place(line)}: not valid YAML: {cause}") from error


def dump(document: Any, *, flow: bool | None = False, width: int = 80) -> str:
    """Plain values as YAML text that `parse` reads back; `flow` and `width` are PyYAML's."""
    return str(
        yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=flow, width=width)
    )


def shown(text: str, most: int = _SHOWN) -> str:
    """Text for a message: on one line, and not longer than one."""
    line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text[: most + 1])
    return line if len(line) <= most else line[: most - 1] + "…"


def kind(value: Any) -> str:
    """What a value is, in a word for a message."""
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    return "nothing" if value is None else f"`{shown(str(value))}`"


def _build(node: yaml.Node, at: KeyPath, lines: dict[KeyPath, int]) -> Any:
    if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
        return _mapping(node, at, lines)
    if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
        items = []
        for index, item in enumerate(node.value):
            lines[(*at, index)] = item.start_mark.line + 1
            items.append(_build(item, (*at, index), lines))
        return items
    if not isinstance(node, yaml.ScalarNode):
        raise _RefusedError(f"tag {shown(node.tag)} is not read here", node.start_mark)
    return _scalar(node)


def _mapping(node: yaml.MappingNode, at: KeyPath, lines: dict[KeyPath, int]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = _scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
        if not isinstance(key, str):
            message = f"expected a key that is text, got {kind(key)}; put it in quotes"
            raise _RefusedError(message, key_node.start_mark)
        if key in mapping:
            message = f"key `{shown(key)}` occurs twice, first on line {lines[(*at, key)]}"
            raise _RefusedError(message, key_node.start_mark)
        lines[(*at, key)] = key_node.start_mark.line + 1
        mapping[key] = _build(value_node, (*at, key), lines)
    return mapping


def _scalar(node: yaml.ScalarNode) -> Any:
    text = str(node.value)
    if node.tag == _TAG + "merge":
        raise _RefusedError("`<<` is not read here; write the keys out", node.start_mark)
    if node.tag not in _READ:
        raise _RefusedError(f"tag {shown(node.tag)} is not read here", node.start_mark)
    if node.tag in _NUMBERS and len(text) > _NUMBER_DIGITS:
        raise _RefusedError(f"`{shown(text)}` is not a value: a number of {len(text)} characters", node.start_mark)
    if node.tag in _NUMBERS and (":" in text or (node.tag == _TAG + "int" and _OCTAL.fullmatch(text))):
        message = (
            f"`{shown(text)}` is a number in base 8 or 60 to YAML; write it in base 10, or in quotes if it is text"
        )
        raise _RefusedError(message, node.start_mark)
    try:
        value = yaml.constructor.SafeConstructor().construct_object(node)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        cause = str(error) if type(error) is ValueError else f"it is no {node.tag.removeprefix(_TAG)}"
        raise _RefusedError(f"`{shown(text)}` is not a value: {cause}", node.start_mark) from error
    if isinstance(value, datetime.date):
        raise _RefusedError(f"`{shown(text)}` is a date to YAML; put it in quotes", node.start_mark)
    if isinstance(value, str) and _UNWRITABLE.search(value):
        raise _RefusedError(f"`{shown(value)}` has a character that no file or name can have", node.start_mark)
    if isinstance(value, float) and _EXPONENT.fullmatch(text) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value
