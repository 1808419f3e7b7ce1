"""Bars of cells, one below the other: the room that they take, and where a cell's name stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.figures.look import look, pt, small
from analysis.figures.style import wrapped
from analysis.metrics.measured import Measured
from testbed.errors import RecordError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 60
"""Cells of one figure: more would not fit a page, and all their tables would be read."""

_NAME_INCH = 2.4


def few_enough(cells: Sequence[Measured]) -> Sequence[Measured]:
    """The cells, which have bars on one page.

    Raises:
        RecordError: they are too many.
    """
    if len(cells) > MOST:
        raise RecordError(f"{len(cells)} cells are too many for bars (limit {MOST}); choose some with --cells")
    return cells


def pitch() -> float:
    """Inches of print from one cell's bar to the next: in a narrow look its name stands above it."""
    return 0.31 if look().narrow else 0.27


def thickness() -> float:
    """A bar's, as a share of the pitch."""
    return 0.38 if look().narrow else 0.7


def places(count: int) -> NDArray[np.int64]:
    """Where the bars of so many cells stand, the first on top."""
    return np.arange(count)[::-1]


def name(axes: Axes, names: Sequence[str], shown: bool = True) -> None:
    """Name the cells of horizontal bars, left of them, or above them in a narrow look; or leave only their places."""
    at = places(len(names))
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.6, len(names) - 0.4)
    if not shown:
        axes.set_yticks(at, [""] * len(names))
        if look().narrow:
            axes.set_ylim(-0.4, len(names) - 0.4 + 0.35)
    elif look().narrow:
        axes.set_yticks(at, [""] * len(names))
        for place, text in zip(at.tolist(), names, strict=True):
            where = (0.0, place + thickness() / 2)
            note = axes.annotate(
                text,
                where,
                annotation_clip=False,
                xycoords=axes.get_yaxis_transform(),
                xytext=(pt(2), pt(1.5)),
                textcoords="offset points",
                fontsize=small(),
                va="bottom",
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": pt(0.3)},
            )
            note.set_in_layout(False)  # it may lie over the panel beside
        axes.set_ylim(-0.4, len(names) - 0.4 + 0.35)
        axes.set_zorder(2)  # a long name goes on over the panel beside
        axes.patch.set_visible(False)
    else:
        axes.set_yticks(at, [wrapped(text, _NAME_INCH) for text in names], linespacing=0.95)
    axes.spines["left"].set_visible(False)
    axes.grid(True, axis="x")
