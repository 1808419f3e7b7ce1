"""How all figures look: colours, sizes, the mark of what is emulated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis.metrics.measured import Measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design" (2008).
BLACK, GREY = "#222222", "#9A9A9A"
ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"
WIDE, COLUMN = 7.0, 3.5
"""Widths of a figure in inches: over a page, and in one of its two columns."""

STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.4,
    "grid.color": "#DDDDDD",
    "axes.axisbelow": True,
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
}
_COLOUR_OF_WHAT_IS_SENT = {"nothing": VERMILION, "input": BLUE, "code": GREEN}


def colour_of(one: Measured) -> str:
    """A cell's colour, by what its edge sends: nothing, its input, or codes."""
    return _COLOUR_OF_WHAT_IS_SENT[one.cell.manifest.sends]


def blank(
    rows: int, columns: int, height: float, *, wide: bool = False, **options: Any
) -> tuple[Figure, list[list[Axes]]]:
    """A figure of `height` inches without a window, and its axes by row and column."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDE if wide or columns > 1 else COLUMN, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **options).tolist()


def mark_emulated(axes: Axes) -> None:
    """The visible mark: above the axes, where no data lie."""
    box = {"boxstyle": "round,pad=0.25", "facecolor": VERMILION, "edgecolor": "none"}
    axes.set_title("emulated", loc="right", fontsize=6.5, color="white", fontweight="bold", bbox=box, pad=5)


def with_unit(quantity: str, unit: str, emulated: bool) -> str:
    """The name of an axis."""
    return f"{quantity} (emulated) [{unit}]" if emulated else f"{quantity} [{unit}]"
