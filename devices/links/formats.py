"""How traces are written: readers that take a file's lines one by one and give a capacity.

Raised is `WrongLineError`, or `ValueError` by `Points`, about the line that was taken in last.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TypeAlias

from devices.links.conditions import Capacity
from devices.links.points import MOST_MS, Points
from devices.links.spec import MOST_MBIT_S, Format, Way
from devices.yamltext import shown

CHANCE_BYTES = 1500
"""What one line of a mahimahi trace lets through."""

TIMES = {"seconds": 1000.0, "ms": 1.0}
"""Columns of a CSV that say when a row begins → milliseconds in one."""

RATES = {"mbit_s": 125.0, "kbit_s": 0.125, "bit_s": 0.000125, "bytes_s": 0.001}
"""Columns that say a rate, with `up_` or `down_` before them or for both → bytes/ms in one."""

AMOUNT = "bytes"
"""The column that says how much a row lets through until the next one begins."""

_INTEGER = re.compile(r"[0-9]{1,15}", re.ASCII)
_KNOWN = ", ".join((*TIMES, *RATES, AMOUNT))


class WrongLineError(Exception):
    """What is wrong with the line that is being read."""


def format_of(first: str) -> Format:
    """How a file is written whose first line is this."""
    if "," in first and re.search("[A-Za-z]{2}", first):
        return "csv"
    words = first.split()
    if len(words) == 1 and _INTEGER.fullmatch(first):
        return "mahimahi"
    if len(words) == 2 and all(_is_number(word) for word in words):
        return "seconds_mbit_s"
    raise WrongLineError(
        f"`{shown(first)}` does not tell what kind of trace this is: expected one whole number of ms (mahimahi), "
        f"two numbers `seconds Mbit/s`, or a header with columns of {_KNOWN}"
    )


class Mahimahi:
    """A line is the millisecond of a chance to send 1,500 bytes; the last one is where it begins anew.

    The chance becomes capacity of the millisecond that ends there; one at 0 is of the first.
    """

    def __init__(self, first: str, _way: Way) -> None:
        self._points = Points()
        self._at = 0
        self._total = 0
        self.line(first)

    def line(self, text: str) -> None:
        """Take in the next line."""
        if not _INTEGER.fullmatch(text):
            raise WrongLineError(f"expected a whole number of ms from 0 on, got `{shown(text)}`")
        ms = int(text)
        if ms < self._at:
            raise WrongLineError(f"expected the moments in order, got {ms} ms after {self._at} ms")
        if ms > MOST_MS:
            raise WrongLineError(f"expected at most {MOST_MS // 3_600_000} hours, got {ms:,} ms")
        if max(ms, 1) > max(self._at, 1):
            self._close()
        self._at = ms
        self._total += CHANCE_BYTES

    def _close(self) -> None:
        """Add the chances of the present millisecond, and the quiet before it."""
        ms, points = max(self._at, 1), self._points
        if ms - 1 > points.last_ms:
            points.add(ms - 1, points.last_bytes)
        points.add(ms, self._total)

    def capacity(self) -> Capacity:
        """What all lines mean together."""
        if self._at == 0:
            raise WrongLineError("expected a last moment after 0 ms: that is where the trace begins anew")
        self._close()
        return self._points.capacity()


class Rows:
    """Rows that begin at moments: each holds until the next, the last as long as the one before it (alone: 1 s).

    Time begins with the first row, whatever its moment.
    """

    def __init__(self) -> None:
        self._points = Points()
        self._start_ms: float | None = None
        self._row: tuple[float, bool] = (0.0, True)
        self._exact = 0.0
        self._step = 1000

    def add(self, moment_ms: float, figure: float, *, is_rate: bool) -> None:
        """Add a row: bytes/ms, or bytes up to the next row."""
        if self._start_ms is None:
            self._start_ms, self._row = moment_ms, (figure, is_rate)
            return
        ms = math.floor(moment_ms - self._start_ms + 0.5)
        if ms <= self._points.last_ms:
            raise WrongLineError("expected each row at least 1 ms after the one before it")
        self._close(ms)
        self._row = figure, is_rate

    def _close(self, ms: int) -> None:
        """The present row ends here."""
        figure, is_rate = self._row
        self._step = ms - self._points.last_ms
        self._exact += figure * self._step if is_rate else figure
        self._points.add(ms, round(self._exact))

    def capacity(self) -> Capacity:
        """What all lines mean together."""
        self._close(self._points.last_ms + self._step)
        return self._points.capacity()


class SecondsMbitS(Rows):
    """Lines of `seconds Mbit/s`, apart by a tab or spaces."""

    def __init__(self, first: str, _way: Way) -> None:
        super().__init__()
        self.line(first)

    def line(self, text: str) -> None:
        """Take in the next line."""
        words = text.split()
        if len(words) != 2:
            raise WrongLineError(f"expected two numbers, `seconds Mbit/s`, got `{shown(text)}`")
        self.add(_number(words[0], "seconds") * TIMES["seconds"], _rate(words[1], "mbit_s"), is_rate=True)


class Csv(Rows):
    """A header that names the columns, and rows; one column says when, one for each direction how much."""

    def __init__(self, first: str, way: Way) -> None:
        super().__init__()
        self._names = [name.strip().lower() for name in first.split(",")]
        kinds = {*TIMES, *RATES, AMOUNT}
        for name in self._names:
            if name.removeprefix("up_").removeprefix("down_") not in kinds or name.endswith(
                tuple(f"_{t}" for t in TIMES)
            ):
                raise WrongLineError(
                    f"column `{shown(name)}` is not known; expected {_KNOWN}, `up_` or `down_` before what is of one "
                    "direction"
                )
        self._when = self._only([name for name in self._names if name in TIMES], "says when: " + " or ".join(TIMES))
        ours = [name for name in self._names if name not in TIMES and not name.startswith(_OTHER[way])]
        self._what = self._only(ours, f"says how much goes {way}: {way}_mbit_s, mbit_s, …")

    def _only(self, found: list[str], what: str) -> int:
        if len(found) != 1:
            raise WrongLineError(f"expected one column that {what}; got {', '.join(found) or 'none'}")
        return self._names.index(found[0])

    def line(self, text: str) -> None:
        """Take in the next line."""
        cells = text.split(",")
        if len(cells) != len(self._names):
            raise WrongLineError(f"expected {len(self._names)} columns, got {len(cells)}")
        when, what = self._names[self._when], self._names[self._what]
        moment = _number(cells[self._when], when) * TIMES[when]
        kind = what.removeprefix("up_").removeprefix("down_")
        if kind == AMOUNT:
            amount = _number(cells[self._what], what)
            self.add(moment, amount, is_rate=False)
        else:
            self.add(moment, _rate(cells[self._what], kind), is_rate=True)

    def capacity(self) -> Capacity:
        """What all lines mean together."""
        if self._start_ms is None:
            raise WrongLineError("expected rows after the header")
        return super().capacity()


_OTHER: dict[Way, str] = {"up": "down_", "down": "up_"}
Reader: TypeAlias = Mahimahi | SecondsMbitS | Csv
READERS: dict[Format, Callable[[str, Way], Reader]] = {
    "mahimahi": Mahimahi,
    "seconds_mbit_s": SecondsMbitS,
    "csv": Csv,
}


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word


def _number(word: str, what: str) -> float:
    """A figure from 0 on; 10^12 bounds what it is multiplied with."""
    number = float(word) if _is_number(word) else math.nan
    if not 0 <= number <= 1e12:
        raise WrongLineError(f"expected a number of {what} from 0 on, got `{shown(word.strip())}`")
    return number


def _rate(word: str, unit: str) -> float:
    """In bytes/ms."""
    rate = _number(word, unit) * RATES[unit]
    if rate > MOST_MBIT_S * RATES["mbit_s"]:
        raise WrongLineError(
            f"expected at most {MOST_MBIT_S:,} Mbit/s, got `{shown(word.strip())}` {unit}; which unit?"
        )
    return rate
