"""Exit histogram: at which timestep the requests of each cell with an exit stop, and how many are wrong there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.alike import Alike
from analysis.figures import bars
from analysis.figures.look import pt, small
from analysis.figures.style import BLACK, VERMILION, blank, key
from analysis.metrics.measured import Measured
from testbed.errors import RecordError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEAST_NAMED = 0.07  # of all requests: less has no room for its number
_HATCHES = ("", "////", "..", "xxxx", "\\\\\\\\", "++++", "oooo")


@dataclass(frozen=True)
class Exits:
    """Of a cell's answered requests, the share that stops at each timestep, counted from 1, and that is wrong there."""

    one: Measured
    share: NDArray[np.float64]
    wrong: NDArray[np.float64]


def exit_histogram(shown: Sequence[Measured]) -> tuple[Figure, str]:
    """Draw the figure; returns it with its caption.

    Raises:
        RecordError: no cell has an exit.
    """
    from matplotlib.patches import Patch

    every = [exits_of(one) for one in bars.few_enough([one for one in shown if one.cell.manifest.exit])]
    if not every:
        raise RecordError("no cell has an exit")
    figure, ((axes,),) = blank(1, 1, bars.pitch() * len(every) + 0.7, wide=True)
    _draw(axes, every)
    bars.name(axes, [each.one.label for each in every])
    axes.set_xlabel("Share of answered requests [%]")
    axes.set_xlim(0, 100)
    handles, names = axes.get_legend_handles_labels()
    key(figure, [*handles, Patch(facecolor=VERMILION, edgecolor=BLACK, linewidth=pt(0.3))], [*names, "wrong"])
    caption = (
        "The timestep at which answered requests stop, for each cell with an exit; each repeat and each sample counts "
        "alike. The red strip at the foot of a segment is the share that is wrong there."
    )
    return figure, caption


def exits_of(one: Measured) -> Exits:
    """The histogram of a cell.

    Raises:
        RecordError: no request was answered.
    """
    rows, alike = one.answered, Alike(one.answered)
    stopped = rows["exit_timestep"].to_numpy(np.int64)
    wrong = (rows["prediction"] != rows["label"]).to_numpy(bool)
    steps = range(1, one.cell.manifest.model.timesteps + 1)
    return Exits(
        one,
        np.array([alike.mean(stopped == step) for step in steps]),
        np.array([alike.mean((stopped == step) & wrong) for step in steps]),
    )


def _draw(axes: Axes, every: Sequence[Exits]) -> None:
    import matplotlib as mpl

    at, left = bars.places(len(every)), np.zeros(len(every))
    most = max(len(each.share) for each in every)
    greens = mpl.colormaps["cividis"](np.linspace(0.95, 0.1, most))
    height = bars.thickness()
    for step in range(most):
        share = 100 * np.array([each.share[step] if step < len(each.share) else 0.0 for each in every])
        wrong = 100 * np.array([each.wrong[step] if step < len(each.wrong) else 0.0 for each in every])
        light = float(np.dot(greens[step][:3], (0.3, 0.59, 0.11))) > 0.5
        look: Any = {"color": greens[step], "edgecolor": BLACK if light else "white", "linewidth": 0}
        hatch = _HATCHES[step % len(_HATCHES)]
        axes.barh(at, share, height, left=left, hatch=hatch, label=f"exit after timestep {step + 1}", **look)
        axes.barh(
            at - 0.38 * height, wrong, 0.24 * height, left=left, facecolor=VERMILION, edgecolor=BLACK, linewidth=pt(0.3)
        )
        for place, start, width in zip(at, left, share, strict=True):
            if width >= 100 * _LEAST_NAMED:
                note = axes.text(start + width / 2, place, f"{width:.0f}", va="center", ha="center", fontsize=small())
                note.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": pt(0.8)})
        left = left + share
