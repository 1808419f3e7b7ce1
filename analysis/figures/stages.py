"""Stages: where the mean latency of each cell goes, against the edge by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.figures import bars
from analysis.figures.look import pt, small
from analysis.figures.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, blank, key, mark_emulated, with_unit
from analysis.metrics import latency
from analysis.metrics.comparison import NOT_RESOLVED, Compared, paired
from analysis.metrics.measured import Measured
from analysis.metrics.stages import BESIDE, METRIC, STAGES
from analysis.stats import Interval, over_repeats
from analysis.texts import plus_minus, times
from testbed.errors import RecordError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOUR = dict(zip(STAGES, (PURPLE, BLUE, SKY, ORANGE, GREEN, "#C8C8C8"), strict=True))
_HATCH = dict(zip(STAGES, ("\\\\", "", "////", "..", "xxxx", ""), strict=True))
_ROOM_FOR_NUMBERS = 1.62
_NEAR = 0.03  # of the longest bar
OVERLAP = "overlap"
_LEAST_SHOWN = 0.005
"""Of the longest stage: an overlap that is shorter would not be seen."""

Bars = list[tuple[Measured, dict[str, float]]]


def stages(shown: Sequence[Measured]) -> tuple[Figure, str]:
    """Draw the figure; returns it with its caption.

    Raises:
        RecordError: no cell has a latency.
    """
    timed = [one for one in shown if latency.is_a_result(one)]
    every: Bars = [(one, found) for one in bars.few_enough(timed) if (found := one.get(METRIC))]
    groups = [(emulated, [bar for bar in every if bar[0].emulated == emulated]) for emulated in (False, True)]
    groups = [(emulated, group) for emulated, group in groups if group]
    if not groups:
        raise RecordError("no cell has a latency")
    sizes = [len(group) + 0.6 for _, group in groups]
    height = bars.pitch() * sum(sizes) + 0.55 * len(groups)
    # Where nothing waits for its turn there is no word of a queue.
    named = [stage for stage in STAGES if stage != "queue" or any(found[stage] for _, found in every)]
    figure, grid = blank(len(groups), 1, height, wide=True, height_ratios=sizes)
    for (emulated, group), (axes,) in zip(groups, grid, strict=True):
        _draw_group(axes, group, named)
        axes.set_xlabel(with_unit("Mean latency", "ms", emulated))
        if emulated:
            mark_emulated(axes)
    key(figure, *grid[0][0].get_legend_handles_labels())
    caption = (
        "Mean latency per request by stage, from its arrival, with its total and 95% interval over repeats. Network is "
        "waiting less cloud time. The dashed line and band are the edge by itself. × is its mean over the cell's, with "
        "a 95% interval paired within repeats; it is not resolved where that holds 1."
    )
    if any(_overlaps(found) for _, found in every):
        caption += f" {OVERLAP.capitalize()}: the edge worked on while answers were under way."
    return figure, caption


def mean_per_repeat_ms(one: Measured) -> Mapping[int, float]:
    """The mean latency of each repeat's answered requests; empty where the cell has no latency."""
    found = one.get(latency.METRIC)
    return {} if found is None else found.mean_per_repeat_ms


def said(total: Interval, speedup: Compared | None) -> str:
    """A total with its interval, and how many times faster than the edge by itself it is."""
    text = plus_minus(total.mean, total.half)
    if speedup is None:
        return text
    if speedup.low is None or speedup.high is None:
        return f"{text}, {times(speedup.value)}"
    if not speedup.resolved:
        return f"{text}, × {NOT_RESOLVED}"
    return f"{text}, {times(speedup.value)} ({times(speedup.low)[:-1]} to {times(speedup.high)[:-1]})"


def _draw_group(axes: Axes, group: Bars, named: Sequence[str]) -> None:
    at = bars.places(len(group))
    left = np.zeros(len(group))
    for stage in named:
        values = np.clip([found[stage] for _, found in group], 0, None)
        look: Any = {"color": _COLOUR[stage], "hatch": _HATCH[stage], "edgecolor": "white", "linewidth": 0}
        axes.barh(at, values, bars.thickness(), left=left, label=stage.replace("_", " "), **look)
        left += values
    _draw_overlap(axes, at, [found for _, found in group])
    levels = [over_repeats(list(mean_per_repeat_ms(one).values())) for one in _baselines(group)]
    longest = 0.0
    for place, end, (one, _) in zip(at, left, group, strict=True):
        per_repeat = mean_per_repeat_ms(one)
        total = over_repeats(list(per_repeat.values()))
        half = total.half or 0.0
        whisker: Any = {"color": BLACK, "elinewidth": pt(0.8), "capsize": pt(2), "capthick": pt(0.8)}
        axes.errorbar(total.mean, place, xerr=min(half, total.mean), linestyle="none", **whisker)
        tip = max(float(end), total.mean + half)
        longest = max(longest, tip)
        # The line of the edge by itself must not run through the first letter of a number either.
        near = [level.mean for level in levels if 0 < level.mean - tip < _NEAR * left.max()]
        offset: Any = {"xytext": (pt(3), 0), "textcoords": "offset points"}
        text = said(total, _speedup(one, per_repeat))
        note = axes.annotate(text, (max([tip, *near]), place), va="center", fontsize=small(), **offset)
        # The line of the edge by itself must not run through a number.
        note.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": pt(0.4)})
    axes.set_xlim(0, _ROOM_FOR_NUMBERS * longest)
    for level in levels:
        _draw_level(axes, level)
    bars.name(axes, [one.label for one, _ in group])


def _baselines(group: Bars) -> list[Measured]:
    return list({id(one.baseline.cell): one.baseline for one, _ in group if one.baseline}.values())


def _overlaps(found: Mapping[str, float]) -> bool:
    return found[BESIDE] > _LEAST_SHOWN * max(found[stage] for stage in STAGES)


def _draw_overlap(axes: Axes, at: NDArray[np.int64], every: Sequence[Mapping[str, float]]) -> None:
    """A frame around the end of the edge's work: so much of it took no time of its own."""
    label: str | None = OVERLAP
    for place, found in zip(at, every, strict=True):
        if not _overlaps(found):
            continue
        worked = found["edge_compute"] + found["encode"]
        width = min(found[BESIDE], worked)
        end = found["queue"] + worked
        look: Any = {"facecolor": "none", "edgecolor": BLACK, "hatch": "\\\\\\", "linewidth": pt(0.8), "zorder": 3}
        axes.barh(place, width, bars.thickness(), left=end - width, label=label, **look)
        label = None


def _draw_level(axes: Axes, level: Interval) -> None:
    axes.axvline(level.mean, color=BLACK, linewidth=pt(0.8), linestyle=(0, (4, 2)), zorder=0.9)
    if level.half:
        axes.axvspan(level.mean - level.half, level.mean + level.half, color=BLACK, alpha=0.08, linewidth=0, zorder=0.8)


def _speedup(one: Measured, own: Mapping[int, float]) -> Compared | None:
    baseline = one.baseline
    if baseline is None or baseline.cell is one.cell or baseline.emulated != one.emulated:
        return None
    theirs = mean_per_repeat_ms(baseline)
    ratio = over_repeats(list(theirs.values())).mean / over_repeats(list(own.values())).mean
    return paired(ratio, own, theirs, lambda mine, other: other / mine, none=1)
