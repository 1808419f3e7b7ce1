"""`testbed convert`: a tegrastats log as JSON lines, a line at a time, whatever its length."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

import msgspec

from devices.tegrastats import Reading, parse
from testbed.errors import DataError

MAX_LINE_CHARS = 1 << 16
"""A line beyond this is no line of tegrastats, and is not kept in memory whole."""

_PEEKED_BYTES = 64


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the output; None where the log does not say.

    `line` counts from 1. `timestamp` is the board's local time. `cpu_load_pct` has a value per core, None for one that
    is off. `rails_mw` is each rail's present power. `total_rail` names the rail, or the rails, that make up the whole
    node, and `total_mw` is their power.
    """

    line: int
    timestamp: datetime | None
    ram_used_mb: int | None
    ram_total_mb: int | None
    gr3d_load_pct: int | None
    emc_load_pct: int | None
    cpu_load_pct: tuple[int | None, ...] | None
    rails_mw: dict[str, int]
    total_rail: str | tuple[str, ...] | None
    total_mw: int | None
    temps_c: dict[str, float | None]


@dataclass
class Converted:
    """What a log held; `first_foreign` is the number of the first line that is not tegrastats'."""

    lines: int = 0
    foreign: int = 0
    first_foreign: int | None = None


def convert(log: Path, out: int) -> Converted:
    """Write a row for each line of tegrastats in a log; `-` is standard input.

    Args:
        log: the file.
        out: the file descriptor that the rows are written to.

    Raises:
        DataError: the log cannot be read, holds no line of tegrastats, or the rows cannot be written.
        BrokenPipeError: nobody reads the rows any more.
    """
    encoder = msgspec.json.Encoder()
    done = Converted()
    with _open(log) as file:
        for text in _lines(file, log):
            done.lines += 1
            reading = parse(text)
            if reading is None:
                done.foreign += 1
                done.first_foreign = done.first_foreign or done.lines
                continue
            _write(out, encoder.encode(_row(done.lines, reading)) + b"\n")
    if done.foreign == done.lines:
        raise DataError(f"{log}: none of its {done.lines} lines is a line of tegrastats")
    return done


def _row(number: int, reading: Reading) -> Row:
    whole = reading.whole
    return Row(
        line=number,
        timestamp=reading.timestamp,
        ram_used_mb=reading.ram_used_mb,
        ram_total_mb=reading.ram_total_mb,
        gr3d_load_pct=reading.gr3d_load_pct,
        emc_load_pct=reading.emc_load_pct,
        cpu_load_pct=reading.cpu_load_pct,
        rails_mw=reading.power_mw,
        total_rail=whole[0] if whole and len(whole) == 1 else whole,
        total_mw=reading.total_mw,
        temps_c=reading.temps_c,
    )


@contextlib.contextmanager
def _open(log: Path) -> Iterator[TextIO]:
    # A damaged byte costs its field, not the log.
    try:
        raw: Any = sys.stdin.buffer if str(log) == "-" else log.open("rb")
        encoding = _encoding(raw.peek(_PEEKED_BYTES)[:_PEEKED_BYTES])
    except OSError as error:
        raise DataError(f"{log}: cannot be read: {error.strerror}") from error
    with contextlib.nullcontext() if raw is sys.stdin.buffer else raw:
        yield io.TextIOWrapper(raw, encoding, "replace")


def _encoding(begin: bytes) -> str:
    """How a log is written: UTF-8 with or without the mark that Windows' editors leave, or UTF-16 as its shells do."""
    if begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    low, high = begin[0::2], begin[1::2]
    if len(high) > 1 and any(low) != any(high):  # every other byte is 0: ASCII without a mark
        return "utf-16-le" if any(low) else "utf-16-be"
    return "utf-8-sig"


def _lines(file: TextIO, log: Path) -> Iterator[str]:
    whole = True
    while True:
        try:
            text = file.readline(MAX_LINE_CHARS)
        except OSError as error:
            raise DataError(f"{log}: cannot be read: {error.strerror}") from error
        if not text:
            return
        ended = text.endswith("\n") or len(text) < MAX_LINE_CHARS
        if whole:
            yield text if ended else ""
        whole = ended


def _write(out: int, data: bytes) -> None:
    # Past Python's buffer: each row at once, for a log that is still being written, and nothing is left to be written
    # at the end, when nobody would hear that it failed.
    try:
        while data:
            data = data[os.write(out, data) :]
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DataError(f"the rows cannot be written: {error.strerror}") from error
