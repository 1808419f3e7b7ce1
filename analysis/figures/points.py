"""Cells as points: how each is marked, which are numbered, and the key that names them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from analysis.figures.look import pt
from analysis.figures.style import BLACK, colour_of, key, listed, marker_of, remark
from analysis.metrics.measured import Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_NUMBERED = 10
"""With more cells than that, only those that matter have a number and the rest are listed."""

HOW_MARKED = "Squares send nothing, diamonds their input, circles codes; hollow ones have an exit"


def numbered(drawn: Sequence[Measured], matter: Collection[int]) -> dict[int, str]:
    """The number of a cell by its identity: of all, or where they are many of those that matter.

    By identity, since a cell holds arrays and tables, which do not compare to true or false.
    """
    chosen = [one for one in drawn if len(drawn) <= MOST_NUMBERED or id(one) in matter]
    return {id(one): str(number) for number, one in enumerate(chosen, 1)}


def mark(one: Measured, colour: str | None = None) -> dict[str, Any]:
    """How a cell's point looks: its shape and colour tell what is sent, a hollow one has an exit.

    The edge by itself, with which others are compared, is larger and has a black rim.
    """
    is_baseline = one.baseline is not None and one.baseline.cell is one.cell
    colour = colour or colour_of(one)
    return {
        "marker": marker_of(one),
        "color": colour,
        "markerfacecolor": "white" if one.cell.manifest.exit else colour,
        "markeredgecolor": BLACK if is_baseline else colour,
        "markeredgewidth": pt(1.2 if is_baseline else 0.9),
        "markersize": pt(6 if is_baseline else 4.5),
    }


def name_points(figure: Figure, drawn: Sequence[Measured], numbers: dict[int, str], rest: str) -> None:
    """The key of numbered cells, and under the panels a list of the others that begins with the words `rest`."""
    from matplotlib.lines import Line2D

    named = [one for one in drawn if id(one) in numbers]
    handles = [Line2D([], [], linestyle="none", **mark(one)) for one in named]
    key(figure, handles, [f"{numbers[id(one)]}  {one.label}" for one in named])
    if others := [one.label for one in drawn if id(one) not in numbers]:
        remark(figure, f"{rest}: {listed(others)}.")
