"""Exits: accuracy and mean exit timestep over the threshold, replayed; what was measured as points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np

from analysis.figures.style import BLACK, BLUE, GREY, ORANGE, PURPLE, SKY, blank, colour_of
from analysis.metrics import accuracy, mean_exit
from analysis.metrics.measured import Measured
from analysis.replay import replay
from testbed.errors import RecordError
from testbed.record.exits import Accumulate, Policy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DASHES: Any = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1, 1, 1)))
_THRESHOLDS = np.linspace(0, 1, 201)

Rule: TypeAlias = tuple[Policy, Accumulate]


def exits(shown: Sequence[Measured]) -> tuple[Figure, str]:
    """Draw the figure; returns it with its caption.

    Raises:
        RecordError: no cell can be replayed.
    """
    curves = _curves(shown)
    measured = [one for one in shown if one.cell.manifest.exit and _network_of(one) in curves]
    rules = sorted({rule for one in measured if (rule := _rule(one))}) or [("max_softmax", "mean")]
    figure, ((left, right),) = blank(1, 2, 2.6)
    drawn, refused = 0, []
    for index, (network, one) in enumerate(curves.items()):
        # A curve is dashed as well as coloured, so that one on top of another hides nothing.
        colour = _colour(index, [colour_of(other) for other in curves.values()])
        for number, rule in enumerate(rules):
            name = one.label if len(rules) == 1 else f"{one.label}, {rule[0]}, {rule[1]}"
            look = {"linestyle": _DASHES[(index + number) % len(_DASHES)], "color": colour, "linewidth": 1.2}
            try:
                _draw_curve(left, right, one, rule, look | {"label": name})
                drawn += 1
            except RecordError as error:
                refused.append(str(error))
        _draw_points(left, right, [point for point in measured if _network_of(point) == network], colour)
    if not drawn:
        raise RecordError("; ".join(refused) or "no cell whose edge sees the logits ran all timesteps")
    _finish(figure, left, right, any(_alpha(one) is not None for one in measured))
    return figure, _caption(rules, any(_alpha(one) is None for one in measured))


def _curves(shown: Sequence[Measured]) -> dict[str, Measured]:
    """For each network, the first cell that has no exit but could have one: its edge sees each timestep's logits."""
    curves: dict[str, Measured] = {}
    for one in shown:
        if one.cell.manifest.exit is None and one.cell.manifest.mode_facts.exits:
            curves.setdefault(_network_of(one), one)
    return curves


def _draw_curve(left: Axes, right: Axes, one: Measured, rule: Rule, look: dict[str, Any]) -> None:
    curve = replay(one.cell, *rule, _THRESHOLDS.tolist())
    left.plot(_THRESHOLDS, 100 * curve["accuracy"], **look)
    right.plot(_THRESHOLDS, curve["mean_exit_timestep"], **look)


def _draw_points(left: Axes, right: Axes, points: Sequence[Measured], colour: str) -> None:
    marker: Any = {"marker": "^", "markersize": 6, "linestyle": "", "clip_on": False, "zorder": 3}
    marker |= {"color": colour, "markeredgecolor": "white"}
    for point in points:
        if (alpha := _alpha(point)) is None:
            continue
        if exact := point.get(accuracy.METRIC):
            left.plot(alpha, 100 * exact.fraction, **marker)
        stopped = point.get(mean_exit.METRIC)
        right.plot(alpha, np.nan if stopped is None else stopped, **marker)


def _finish(figure: Figure, left: Axes, right: Axes, has_points: bool) -> None:
    if has_points:
        right.plot([], [], marker="^", color=GREY, linestyle="", markersize=5, label="measured with exit")
    left.set_ylabel("Accuracy [%]")
    right.set_ylabel("Mean exit timestep")
    for axes in (left, right):
        axes.set_xlabel("Exit threshold α")
        axes.set_xlim(0, 1)
        axes.grid(True)
    figure.legend(*right.get_legend_handles_labels(), loc="outside upper left", ncols=2)


def _caption(rules: Sequence[Rule], some_have_no_place: bool) -> str:
    told = " and ".join(f"{policy} of the {how}" for policy, how in rules)
    caption = (
        f"Early exit, replayed over the recorded timesteps of cells that ran all of them ({told} of the "
        "logits). Triangles are cells that really exited early. Neither quantity depends on a node's speed."
    )
    if some_have_no_place:
        caption += " Cells with a threshold for each timestep have no place on this axis and are not drawn."
    return caption


def _colour(index: int, own: Sequence[str]) -> str:
    """A cell's own colour for its first curve, another one for the next."""
    if own.index(own[index]) == index:
        return own[index]
    return (BLUE, PURPLE, ORANGE, SKY, BLACK)[index % 5]


def _network_of(one: Measured) -> str:
    """What decides the logits: mode, model and data; links and codecs do not."""
    manifest = one.cell.manifest
    return msgspec.json.encode([manifest.mode, manifest.model, manifest.dataset]).decode()


def _rule(one: Measured) -> Rule | None:
    rule = one.cell.manifest.exit
    return None if rule is None else (rule.policy, rule.accumulate)


def _alpha(one: Measured) -> float | None:
    """The one threshold of a cell's exit; None where every timestep has its own."""
    rule = one.cell.manifest.exit
    return None if rule is None else rule.threshold
