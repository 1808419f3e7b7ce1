"""Calibration: whether an answer with a confidence of 0.8 is right in 80% of cases, timestep by timestep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.alike import Alike
from analysis.figures.exits import full_runs
from analysis.figures.look import look, pt, small
from analysis.figures.style import BLACK, DASHES, HUES, MARKERS, blank, key, wrapped
from analysis.metrics.measured import Measured
from analysis.replay.decide import record_of
from testbed.errors import RecordError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 15  # Guo et al., "On calibration of modern neural networks", ICML 2017
_MOST_CURVES = 4
_LEAST_SAMPLES = 10  # of a point: fewer tell no accuracy


@dataclass(frozen=True)
class Reliability:
    """Of the answers after a timestep: in each bin of confidence that holds any, their share and their means.

    `ece` is the expected calibration error: the mean over answers of |accuracy − confidence| of their bin.
    """

    share: NDArray[np.float64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    def pooled(self, least: float) -> Reliability:
        """The same with neighbouring bins taken together until each holds such a share of the answers."""
        groups, held = np.zeros(len(self.share), dtype=np.int64), 0.0
        for at in range(1, len(self.share)):
            held += float(self.share[at - 1])
            groups[at] = groups[at - 1] + (held >= least)
            held *= held < least
        if len(groups) and groups[-1] > 0 and self.share[groups == groups[-1]].sum() < least:
            groups[groups == groups[-1]] -= 1
        share = np.bincount(groups, self.share).astype(np.float64)
        means = [np.bincount(groups, self.share * values) / share for values in (self.confidence, self.accuracy)]
        return Reliability(share, means[0], means[1])

    @property
    def ece(self) -> float:
        """Expected calibration error, a fraction."""
        return float(np.sum(self.share * np.abs(self.accuracy - self.confidence)))


def calibration(shown: Sequence[Measured]) -> tuple[Figure, str]:
    """Draw the figure; returns it with its caption.

    Raises:
        RecordError: no cell recorded the logits of all timesteps.
    """
    curves, refused = [], []
    networks = sorted(full_runs(shown), key=lambda one: one.cell.manifest.sends != "code")
    for one in networks[: 1 if look().narrow else look().across]:
        try:
            curves.append((one, reliabilities(one)))
        except RecordError as error:  # noqa: PERF203  (each cell is tried)
            refused.append(str(error))
    if not curves:
        raise RecordError("; ".join(refused) or "no cell whose edge sees the logits ran all timesteps")
    figure, grid = blank(2, len(curves), 3.4, sharex=True, sharey="row", height_ratios=[3, 1])
    for column, (one, found) in enumerate(curves):
        samples = int(one.answered["sample_index"].nunique())
        _draw(grid[0][column], grid[1][column], found, _LEAST_SAMPLES / samples)
        title = wrapped(one.label, look().room_in / len(curves) - 0.4)
        grid[0][column].set_title(title, loc="left", fontsize=small())
        grid[1][column].set_xlabel("Confidence")
    grid[0][0].set_ylabel("Accuracy")
    grid[1][0].set_ylabel("Share of\nanswers")
    key(figure, *grid[0][0].get_legend_handles_labels())
    caption = (
        "Reliability of the confidence on which exits rest: accuracy of the answers in each of 15 bins of confidence "
        "(largest softmax probability of the mean logits up to a timestep), of cells that ran all timesteps. On the "
        "diagonal confidence is right; below it, answers are surer than they may be. ECE is the expected calibration "
        "error, the mean distance from it (Guo et al. 2017). Neighbouring bins with fewer than 10 samples are drawn as "
        "one point. Below: how many answers lie in each bin."
    )
    return figure, caption


def reliabilities(one: Measured) -> list[Reliability]:
    """The reliability after each timestep, each repeat and each sample counting alike.

    Raises:
        RecordError: not every request has all timesteps recorded.
    """
    recorded = record_of(one.cell)
    alike, labels = Alike(recorded.answered), recorded.answered["label"].to_numpy(np.int64)
    sure = recorded.sureness("max_softmax", "mean")
    return [_reliability(alike, sure[t], recorded.predictions[t] == labels) for t in range(recorded.timesteps)]


def _reliability(alike: Alike, sure: NDArray[np.float64], right: NDArray[np.bool_]) -> Reliability:
    bins = np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)
    rows = []
    for each in np.unique(bins):
        inside = bins == each
        share = alike.mean(inside)
        rows.append((share, alike.mean(inside * sure) / share, alike.mean(inside & right) / share))
    share, confidences, accuracies = np.array(rows).T
    return Reliability(share, confidences, accuracies)


def _draw(above: Axes, below: Axes, found: Sequence[Reliability], least: float) -> None:
    above.plot([0, 1], [0, 1], color=BLACK, linewidth=pt(0.7), linestyle=(0, (1, 1.5)), zorder=0.9)
    steps = range(len(found)) if len(found) <= _MOST_CURVES else (0, 1, len(found) // 2, len(found) - 1)
    told = []
    for number, step in enumerate(steps):
        one = found[step]
        style: Any = {"color": HUES[number], "marker": MARKERS[number], "linestyle": DASHES[number]}
        size: Any = {"markersize": pt(3), "linewidth": pt(0.9)}
        drawn = one.pooled(least)
        above.plot(drawn.confidence, drawn.accuracy, label=f"after timestep {step + 1}", **style, **size)
        below.plot(one.confidence, one.share, **style, **size)
        told.append(f"{step + 1}: {one.ece:.3f}")
    box: Any = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": pt(1)}
    text = "ECE after timestep\n" + "\n".join(told)
    above.text(0.97, 0.04, text, transform=above.transAxes, va="bottom", ha="right", fontsize=small(), bbox=box)
    for axes in (above, below):
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.grid(True)
