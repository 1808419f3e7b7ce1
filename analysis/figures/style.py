"""How all figures look: colours, marks, keys and remarks, the sign of what is emulated."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from analysis.figures.look import DPI, look, pt, small
from analysis.metrics.measured import Measured

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design" (2008).
BLACK, GREY = "#222222", "#9A9A9A"
ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"
NOTE_GREY = "#555555"
DOMINATED = "#B4B4B4"
DASHES: Any = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1, 1, 1)), (0, (3, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
HUES = (GREEN, BLUE, ORANGE, PURPLE, SKY, VERMILION)

_INCH_PER_LETTER = 0.056  # of 7 pt, in the mean
_INCH_PER_LETTER_OF_PROSE = 0.051  # in the mean over a whole line
_INCH_PER_LINE = 0.135
_HANDLE_INCH = 0.36
_MOST_LISTED = 400  # letters: three lines
_INVALID = "invalid"


_COLOUR_OF_WHAT_IS_SENT = {"nothing": VERMILION, "input": BLUE, "code": GREEN}
_MARKER_OF_WHAT_IS_SENT = {"nothing": "s", "input": "D", "code": "o"}


def colour_of(one: Measured) -> str:
    """A cell's colour, by what its edge sends: nothing, its input, or codes."""
    return _COLOUR_OF_WHAT_IS_SENT[one.cell.manifest.sends]


def marker_of(one: Measured) -> str:
    """A cell's marker, by what its edge sends: a square, a diamond, or a circle."""
    return _MARKER_OF_WHAT_IS_SENT[one.cell.manifest.sends]


def blank(
    rows: int, columns: int, height: float, *, wide: bool = False, **options: Any
) -> tuple[Figure, list[list[Axes]]]:
    """A figure of `height` inches of print without a window, and its axes by row and column.

    In a look that sets panels side by side, a single one that is not `wide` takes half the width.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    now = look()
    width = now.width_in if wide or columns > 1 or now.narrow else now.width_in / 2
    figure = Figure(figsize=(width, min(height * now.scale, now.most_in)), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **options).tolist()


def panels(count: int, height: float, **options: Any) -> tuple[Figure, list[Axes]]:
    """So many panels of `height` inches of print each, as many side by side as the look has room for."""
    columns = min(count, look().across)
    if count == 4 and columns == 3:
        columns = 2
    rows = math.ceil(count / columns)
    figure, grid = blank(rows, columns, height * rows + 0.1, **options)
    every = [axes for row in grid for axes in row]
    for axes in every[count:]:
        axes.remove()
    return figure, every[:count]


def room_of(figure: Figure) -> float:
    """A figure's width in inches of print."""
    return float(figure.get_figwidth()) / look().scale


def wrapped(text: str, inches: float) -> str:
    """A text in small letters, broken into lines of so many inches of print at most."""
    return "\n".join(
        textwrap.wrap(text, max(12, int(inches / _INCH_PER_LETTER)), break_long_words=True, break_on_hyphens=False)
    )


def grow(figure: Figure, lines: float) -> None:
    """Make a figure higher by so many lines of small letters."""
    figure.set_figheight(float(figure.get_figheight()) + lines * _INCH_PER_LINE * look().scale)


def key(figure: Figure, handles: Sequence[Artist], names: Sequence[str], most_columns: int = 6) -> None:
    """The key above the panels, in as many columns as there is room for; the figure grows by its height."""
    if not handles:
        return
    room = room_of(figure) - 0.1
    longest = max(map(len, names)) * _INCH_PER_LETTER + _HANDLE_INCH
    columns = max(1, min(most_columns, len(names), int(room / longest)))
    lines = [wrapped(name, room / columns - _HANDLE_INCH) for name in names]
    # A legend fills column by column.
    rows = math.ceil(len(lines) / columns)
    heights = [sum(line.count("\n") + 1 for line in lines[at : at + rows]) for at in range(0, len(lines), rows)]
    grow(figure, max(heights) + 0.6)
    figure.legend(
        list(handles),
        lines,
        loc="outside upper left",
        ncols=columns,
        handlelength=2.0,
        handletextpad=0.5,
        columnspacing=1.2,
        labelspacing=0.35,
        borderaxespad=0.2,
    )


def listed(names: Sequence[str]) -> str:
    """Names one after the other; where they are very long, the first of them and how many more there are."""
    lengths = accumulate(len(name) + 2 for name in names)
    shown = max(1, sum(length <= _MOST_LISTED for length in lengths))
    more = len(names) - shown
    return "; ".join(names[:shown]) + (f"; and {more} more" if more > 0 else "")


def remark(figure: Figure, text: str) -> None:
    """A remark in small letters under the panels, after those that are there; the figure grows by its height."""
    before = figure.get_supxlabel()
    lines = wrapped(text, (room_of(figure) - 0.1) * _INCH_PER_LETTER / _INCH_PER_LETTER_OF_PROSE)
    grow(figure, lines.count("\n") + (1 if before else 1.4))
    left = pt(4) / 72 / float(figure.get_figwidth())
    together = f"{before}\n{lines}" if before else lines
    figure.supxlabel(together, fontsize=small(), color=NOTE_GREY, x=left, ha="left", multialignment="left")


def mark_emulated(axes: Axes) -> None:
    """The visible mark: above the axes, where no data lie."""
    _badge(axes, "emulated")


def mark_invalid(axes: Axes, cells: Sequence[Measured]) -> None:
    """The visible mark where a cell that axes show missed a validity gate, beside that of what is emulated."""
    if any(one.valid is False for one in cells) and not is_marked_invalid(axes):
        _badge(axes, " + ".join(filter(None, (axes.get_title("right"), _INVALID))))


def is_marked_invalid(axes: Axes) -> bool:
    """Whether axes bear that mark already."""
    return _INVALID in axes.get_title("right")


def _badge(axes: Axes, text: str) -> None:
    box: Any = {"boxstyle": "round,pad=0.25", "facecolor": VERMILION, "edgecolor": "none"}
    axes.set_title(text, loc="right", fontsize=small(), color="white", bbox=box, pad=pt(5))


def with_unit(quantity: str, unit: str, emulated: bool, lines: int = 1) -> str:
    """The name of an axis, in one line or in two."""
    said = f"(emulated) [{unit}]" if emulated else f"[{unit}]"
    return f"{quantity}{' ' if lines == 1 else chr(10)}{said}"


def plain_log(*scales: Any) -> None:
    """Numbers as 0.1, 1 and 10 on logarithmic axes, and some between where an axis has less than two decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for scale in scales:
        low, high = sorted(map(float, scale.get_view_interval()))
        decades = math.log10(high / low)
        subs: tuple[float, ...] = (1.0,) if decades > 2 else (1.0, 3.0) if decades > 1.2 else (1.0, 2.0, 5.0)
        if decades <= 0.7:
            subs = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
        scale.set_major_locator(LogLocator(10, subs=subs, numticks=12))
        scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.10g}"))
        scale.set_minor_formatter(NullFormatter())
