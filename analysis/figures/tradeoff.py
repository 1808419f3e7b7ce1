"""Trade-off: accuracy against energy per request and against median latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.energy import KINDS
from analysis.figures import labels
from analysis.figures.style import COLUMN, blank, colour_of, mark_emulated, with_unit
from analysis.metrics import accuracy, energy, latency
from analysis.metrics.measured import Measured
from testbed.errors import RecordError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_KEY_INCH_PER_LETTER = 0.056  # with its share of the mark and the number, at 7 pt


@dataclass(frozen=True)
class _Panel:
    """One x axis: a quantity, of measured or of emulated cells, as (cell, value, half-width)."""

    label: str
    emulated: bool
    points: list[tuple[Measured, float, float]]


def tradeoff(shown: Sequence[Measured]) -> tuple[Figure, str]:
    """Draw the figure; returns it with its caption.

    Raises:
        RecordError: no cell has an accuracy beside an energy or a latency.
    """
    panels = _panels([one for one in shown if one.get(accuracy.METRIC)])
    if not panels:
        raise RecordError("no cell has an accuracy beside an energy or a latency")
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    drawn = [one for one in shown if any(one is point[0] for panel in panels for point in panel.points)]
    key_columns = max(1, int(columns * COLUMN / (_KEY_INCH_PER_LETTER * max(len(one.label) for one in drawn))))
    key_rows = -(-len(drawn) // key_columns)
    figure, grid = blank(rows, columns, 2.75 * rows + 0.14 * key_rows)
    every = [axes for row in grid for axes in row]
    for axes in every[len(panels) :]:
        axes.remove()
    # By identity: a cell holds arrays and tables, which do not compare to true or false.
    numbers = {id(one): str(number) for number, one in enumerate(drawn, 1)}
    for axes, panel in zip(every, panels, strict=False):
        _draw_panel(axes, panel, numbers)
    figure.legend(
        handles=[_key(one, numbers[id(one)]) for one in drawn],
        loc="outside upper left",
        ncols=key_columns,
        handletextpad=0.2,
        columnspacing=1.0,
    )
    caption = (
        f"Accuracy against edge energy per request and median latency, cells by number. Horizontal bars: 95% "
        f"intervals over {_repeats(shown)}. Vertical bars: 95% interval of the accuracy for drawing other samples of "
        f"the data set (cells share their samples, so differences between them are surer than the bars suggest)."
    )
    return figure, caption


def _panels(shown: Sequence[Measured]) -> list[_Panel]:
    panels = []
    for kind in KINDS:
        energies, latencies = [], []
        for one in shown:
            drawn, took = one.get(energy.METRIC), one.get(latency.METRIC)
            if drawn and drawn.source == kind:
                energies.append((one, drawn.gross.mean, drawn.gross.half or 0.0))
            if took and one.emulated == (kind == "emulated"):
                latencies.append((one, took.p50_ms, took.p50.half or 0.0))
        emulated = kind == "emulated"
        panels.append(_Panel(with_unit("Edge energy per request", "mJ", emulated), emulated, energies))
        panels.append(_Panel(with_unit("Latency, median", "ms", emulated), emulated, latencies))
    return [panel for panel in panels if panel.points]


def _repeats(measured: Sequence[Measured]) -> str:
    counts = sorted({one.cell.manifest.repeats for one in measured})
    return f"{counts[0]} repeats" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} repeats"


def _key(one: Measured, number: str) -> Line2D:
    """An entry of the legend: the cell's number, mark and name."""
    from matplotlib.lines import Line2D

    name = one.label if one.valid else f"{one.label} (invalid)"
    return Line2D([], [], linestyle="none", label=f"{number}  {name}", **_marker(one, one.emulated))


def _marker(one: Measured, emulated: bool) -> dict[str, Any]:
    """Colour tells the mode, a triangle an exit, a hollow mark an emulated quantity."""
    colour = colour_of(one)
    return {
        "marker": "^" if one.cell.manifest.exit else "o",
        "color": colour,
        "markerfacecolor": "white" if emulated else colour,
        "markersize": 5,
    }


def _draw_panel(axes: Axes, panel: _Panel, numbers: Mapping[int, str]) -> None:
    for one, x, half in panel.points:
        exact = one.get(accuracy.METRIC)
        if exact is None:
            continue
        marker = _marker(one, panel.emulated)
        y = 100 * exact.fraction
        axes.errorbar(
            x,
            y,
            xerr=[[half], [half]],
            yerr=[[y - 100 * exact.low], [100 * exact.high - y]],
            linestyle="none",
            elinewidth=0.7,
            ecolor=(marker["color"], 0.5),
            capsize=1.5,
            capthick=0.7,
            **marker,
        )
        labels.add(axes, x, y, numbers[id(one)], marker["color"])
    axes.set_xlabel(panel.label)
    axes.set_ylabel("Accuracy [%]")
    axes.grid(True)
    axes.margins(0.08, 0.08)
    if min(x for _, x, _ in panel.points) > 0:
        axes.set_xlim(left=0)
    if panel.emulated:
        mark_emulated(axes)
