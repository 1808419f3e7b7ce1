"""Traces of a link's rate as files, and the capacities that they mean.

Each line is read by itself, so a file costs no more memory than its bytes and its points.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from devices import yamlfile
from devices.base.errors import DeviceError
from devices.links.conditions import Capacity
from devices.links.formats import READERS, WrongLineError, format_of
from devices.links.spec import Format, Way

Line: TypeAlias = tuple[int, str]

MOST_BYTES = 64 << 20
"""Of a file; a minute of mahimahi at 1 Gbit/s has half of it."""

MOST_LINE = 1000
"""Bytes of a line; none that means something is as long."""


def read_trace(path: Path, way: Way, named: Format | None = None) -> Capacity:
    """The capacity that a trace file gives one direction.

    Args:
        path: The file.
        way: Which columns of a CSV are read, where it has some for each direction.
        named: How the file is written; None: as its first line looks.

    Raises:
        DeviceError: `FILE:LINE: what was expected`.
    """
    raw = yamlfile.contents(path, MOST_BYTES)
    number = 1
    try:
        lines = _lines(raw)
        number, first = next(lines, (1, ""))
        if not first:
            raise WrongLineError("expected a trace, the file is empty")
        read = READERS[named or format_of(first)](first, way)
        for number, text in lines:  # noqa: B007  (it is of the line that raises)
            read.line(text)
        return read.capacity()
    except (WrongLineError, _BadBytesError, ValueError) as error:
        at = error.number if isinstance(error, _BadBytesError) else number
        raise DeviceError(f"{path}:{at}: {error}") from error


class _BadBytesError(Exception):
    """A line that is no text, and its number."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


def _lines(raw: bytes) -> Iterator[Line]:
    """The lines that say something, numbered from 1."""
    for number, line in enumerate(io.BytesIO(raw.removeprefix(b"\xef\xbb\xbf")), start=1):
        if len(line) > MOST_LINE:
            raise _BadBytesError(number, f"expected a line of a trace, this one has {len(line):,} bytes")
        try:
            text = line.decode("ascii").strip()
        except UnicodeDecodeError as error:
            raise _BadBytesError(number, "expected numbers as text, this is something else") from error
        if "\0" in text:
            raise _BadBytesError(number, "expected numbers as text, this is something else")
        if text:
            yield number, text
