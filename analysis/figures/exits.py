"""Exits: accuracy, mean exit timestep and bytes over the threshold, replayed; what was measured as points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from analysis.alike import Alike
from analysis.figures.look import pt
from analysis.figures.style import (
    BLACK,
    BLUE,
    DASHES,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    colour_of,
    key,
    mark_invalid,
    panels,
    plain_log,
)
from analysis.metrics import accuracy, mean_exit, traffic
from analysis.metrics.measured import Measured
from analysis.replay.decide import at, record_of
from testbed.errors import RecordError
from testbed.record.exits import Accumulate, Policy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

THRESHOLDS = np.linspace(0, 1, 201)

Rule: TypeAlias = tuple[Policy, Accumulate]
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """At each of `THRESHOLDS`: accuracy, a fraction, mean exit timestep, and payload bytes up (None: nothing sent)."""

    accuracy: Floats
    timestep: Floats
    payload_bytes: Floats | None


def exits(shown: Sequence[Measured]) -> tuple[Figure, str]:
    """Draw the figure; returns it with its caption.

    Raises:
        RecordError: no cell can be replayed.
    """
    curves = {_network_of(one): one for one in full_runs(shown)}
    measured = [one for one in shown if one.cell.manifest.exit and _network_of(one) in curves]
    rules = sorted({rule for one in measured if (rule := _rule(one))}) or [("max_softmax", "mean")]
    sends = any(one.cell.manifest.sends != "nothing" for one in curves.values())
    figure, every = panels(3 if sends else 2, 2.0)
    drawn, refused = 0, []
    for index, (network, one) in enumerate(curves.items()):
        # A curve is dashed as well as coloured, so that one on top of another hides nothing.
        colour = _colour(index, [colour_of(other) for other in curves.values()])
        for number, rule in enumerate(rules):
            name = one.label if len(rules) == 1 else f"{one.label}, {rule[0]}, {rule[1]}"
            look: Any = {"linestyle": DASHES[(index + number) % len(DASHES)], "color": colour, "linewidth": pt(1.2)}
            try:
                curve = replayed(one, rule)
            except RecordError as error:
                refused.append(str(error))
                continue
            drawn += 1
            for axes, values in zip(every, (100 * curve.accuracy, curve.timestep, curve.payload_bytes), strict=False):
                if values is not None:
                    axes.plot(THRESHOLDS, values, label=name, **look)
        _draw_points(every, [point for point in measured if _network_of(point) == network], colour)
    if not drawn:
        raise RecordError("; ".join(refused) or "no cell whose edge sees the logits ran all timesteps")
    for axes in every:
        mark_invalid(axes, [*curves.values(), *measured])
    _finish(figure, every, any(_alpha(one) is not None for one in measured))
    return figure, _caption(rules, any(_alpha(one) is None for one in measured))


def replayed(one: Measured, rule: Rule) -> Curve:
    """What a cell that ran all timesteps would have shown at each of `THRESHOLDS`; this follows from its record.

    Raises:
        RecordError: it did not run all timesteps, or its edge sees no logits.
    """
    recorded = record_of(one.cell)
    every, answered = Alike(one.cell.requests), Alike(recorded.answered)
    sure = recorded.sureness(*rule)
    stops = [recorded.exits(sure, threshold) for threshold in THRESHOLDS.tolist()]
    sent = None
    if one.cell.manifest.sends != "nothing":
        sent = np.array([answered.mean(at(recorded.payload_up_bytes, each)) for each in stops])
    return Curve(
        np.array([every.mean(recorded.right(each)) for each in stops]),
        np.array([answered.mean(each) for each in stops]),
        sent,
    )


def full_runs(shown: Sequence[Measured]) -> list[Measured]:
    """For each network, the first cell that has no exit but could have one: its edge sees each timestep's logits."""
    curves: dict[str, Measured] = {}
    for one in shown:
        if one.cell.manifest.exit is None and one.cell.manifest.mode_facts.exits:
            curves.setdefault(_network_of(one), one)
    return list(curves.values())


def _draw_points(every: Sequence[Axes], points: Sequence[Measured], colour: str) -> None:
    marker: Any = {"marker": "^", "markersize": pt(5.5), "linestyle": "", "clip_on": False, "zorder": 3}
    marker |= {"color": colour, "markeredgecolor": "white", "markeredgewidth": pt(0.8)}
    for point in points:
        if (alpha := _alpha(point)) is None:
            continue
        exact, sent = point.get(accuracy.METRIC), point.get(traffic.METRIC)
        values = (
            None if exact is None else 100 * exact.fraction,
            point.get(mean_exit.METRIC),
            None if sent is None else sent.payload_up_bytes,
        )
        for axes, value in zip(every, values, strict=False):
            if value is not None:
                axes.plot(alpha, value, **marker)


def _finish(figure: Figure, every: Sequence[Axes], has_points: bool) -> None:
    named = every[1]
    if has_points:
        named.plot([], [], marker="^", color=GREY, linestyle="", markersize=pt(5), label="measured with exit")
    for axes, name in zip(
        every, ("Accuracy [%]", "Mean exit timestep", "Mean payload up\nper request [B]"), strict=False
    ):
        axes.set_ylabel(name)
        axes.set_xlabel("Exit threshold α")
        axes.set_xlim(0, 1)
        axes.grid(True)
    if len(every) > 2:
        every[2].set_yscale("log")
        plain_log(every[2].yaxis)
    key(figure, *named.get_legend_handles_labels())


def _caption(rules: Sequence[Rule], some_have_no_place: bool) -> str:
    told = " and ".join(f"{policy} of the {how}" for policy, how in rules)
    caption = (
        f"Early exit, replayed over the recorded timesteps of cells that ran all of them ({told} of the "
        "logits). Triangles are cells that really exited early. None of these depends on a node's speed."
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
