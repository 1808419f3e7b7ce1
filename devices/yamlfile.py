"""YAML files whose errors name file and line, also those found after parsing."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devices.yamltext import KeyPath, YamlError, kind, parse, shown

__all__ = ["Document", "KeyPath", "YamlError", "contents", "load", "value"]

MOST_BYTES = 1 << 20
"""What a person writes is smaller by far; PyYAML takes some ten seconds for so much."""

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NOT_FILES = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


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


def load(path: Path, most_bytes: int = MOST_BYTES) -> Document:
    """Read one YAML mapping.

    Keys are text and occur once; anchors, merges and tags are refused, so every value stands on one line.

    Raises:
        YamlError: the file cannot be read, is larger than `most_bytes`, is not UTF-8, or is not such a mapping.
    """
    text = _decoded(path, contents(path, most_bytes))
    data, lines = parse(text, lambda line: f"{path}:{line}")
    if data is None:
        raise YamlError(f"{path}:{lines[()]}: expected keys and values, the file is empty")
    if not isinstance(data, dict):
        raise YamlError(f"{path}:{lines[()]}: expected `key: value` lines at the top, got {kind(data)}")
    return Document(path, data, lines)


def value(text: str, name: str) -> Any:
    """One YAML value that stands in no file, such as that of a command line's option.

    Raises:
        YamlError: it is no such value; the text begins with `name`.
    """
    data, _ = parse(text, lambda _line: shown(name, 200))
    return data


def contents(path: Path, most_bytes: int) -> bytes:
    """What a file holds.

    Raises:
        YamlError: it cannot be read, is no file, or is larger than `most_bytes`.
    """
    try:
        # Without O_NONBLOCK a pipe that nobody writes to is waited for.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            mode = os.fstat(handle).st_mode
            if not stat.S_ISREG(mode):
                found = next((name for is_one, name in _NOT_FILES if is_one(mode)), "something else")
                raise YamlError(f"{path}: cannot be read: expected a file, it is {found}")
            with os.fdopen(handle, "rb", closefd=False) as file:
                raw = file.read(most_bytes + 1)
        finally:
            os.close(handle)
    except OSError as error:
        raise YamlError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise YamlError(f"{shown(str(path))}: cannot be read: {error}") from error
    if len(raw) > most_bytes:
        raise YamlError(f"{path}: cannot be read: larger than {most_bytes / 2**20:g} MiB, so it is no such file")
    return raw


def _decoded(path: Path, raw: bytes) -> str:
    if raw.startswith(_UTF16) or b"\0" in raw[:4]:
        raise YamlError(f"{path}:1: expected UTF-8 text, this is UTF-16 or 32; save it as UTF-8")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise YamlError(f"{path}:{line}: expected UTF-8 text") from error
