"""Rate and accuracy of models: accuracy over the bits that a code takes, by split, beside the uncut network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from analysis.curves import ENOUGH_SEEDS, Curves, Point, Reached
from analysis.figures.look import pt, small
from analysis.figures.style import BLACK, DASHES, HUES, MARKERS, VERMILION, key, panels, plain_log
from testbed.errors import RecordError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def rate_accuracy(shown: Sequence[Curves]) -> tuple[Figure, str]:
    """Draw the figure, a panel for each recipe; returns it with its caption.

    Raises:
        RecordError: no recipe has a code.
    """
    if not shown:
        raise RecordError("no variant has a bottleneck")
    figure, grid = panels(len(shown), 2.9, wide=True)
    splits = list(dict.fromkeys(split for curves in shown for split in curves.splits))
    for axes, curves in zip(grid, shown, strict=True):
        for number, split in enumerate(splits):
            if split in curves.splits:
                _draw_split(axes, split, curves.splits[split], number)
        _draw_level(axes, curves.uncut, "uncut", BLACK, DASHES[1])
        if curves.control is not None:
            _draw_level(axes, curves.control, "uncut control", VERMILION, DASHES[3])
        _finish(axes, curves, titled=len(shown) > 1)
    named = {name: handle for axes in grid for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    key(figure, list(named.values()), list(named))
    return figure, _caption(shown)


def _draw_split(axes: Axes, split: str, points: Sequence[Point], number: int) -> None:
    colour, marker = HUES[number % len(HUES)], MARKERS[number % len(MARKERS)]
    xs, ys = [point.bits for point in points], [100 * point.reached.mean for point in points]
    look: Any = {"color": colour, "marker": marker, "markersize": pt(4.5), "linewidth": pt(0.7)}
    axes.errorbar(
        xs,
        ys,
        yerr=[
            [100 * (point.reached.mean - point.reached.low) for point in points],
            [100 * (point.reached.high - point.reached.mean) for point in points],
        ],
        elinewidth=pt(0.6),
        ecolor=(colour, 0.5),
        capsize=pt(1.5),
        label=f"after {split}",
        **look,
    )
    for point in points:
        seeds = [100 * accuracy for accuracy in point.reached.seeds]
        if len(seeds) > 1:
            each: Any = {"marker": marker, "markersize": pt(2.5), "markerfacecolor": "white", "linestyle": "none"}
            axes.plot([point.bits] * len(seeds), seeds, color=colour, zorder=3, markeredgewidth=pt(0.6), **each)
        # On its left and above it no curve that rises passes.
        beside: Any = {"xytext": (pt(-4), pt(3)), "textcoords": "offset points", "ha": "right", "va": "bottom"}
        text = point.code.replace("x", "×")
        axes.annotate(text, (point.bits, 100 * point.reached.mean), fontsize=small(), color=colour, **beside)


def _draw_level(axes: Axes, reached: Reached, name: str, colour: str, dashes: Any) -> None:
    axes.axhspan(100 * reached.low, 100 * reached.high, color=colour, alpha=0.08, linewidth=0, zorder=0.5)
    axes.axhline(100 * reached.mean, color=colour, linewidth=pt(0.9), linestyle=dashes, zorder=0.9, label=name)


def _finish(axes: Axes, curves: Curves, *, titled: bool) -> None:
    axes.set_xscale("log")
    axes.margins(0.1, 0.08)
    axes.set_xlabel("Mean code per timestep, entropy-coded [bit]")
    axes.set_ylabel("Accuracy [%]")
    axes.grid(True)
    plain_log(axes.xaxis)
    bytes_of_bits = curves.timesteps / 8

    def sent(bits: Any) -> Any:
        return bits * bytes_of_bits

    def bits(sent: Any) -> Any:
        return sent / bytes_of_bits

    above = axes.secondary_xaxis("top", functions=(sent, bits))
    above.set_xlabel(f"Mean payload per request of {curves.timesteps} timesteps [B]")
    low, high = axes.get_xlim()
    above.set_xlim(low * bytes_of_bits, high * bytes_of_bits)
    plain_log(above.xaxis)
    if titled:
        axes.set_title(curves.title)


def _caption(shown: Sequence[Curves]) -> str:
    seeds, samples = (sorted({getattr(curves, name) for curves in shown}) for name in ("seeds", "samples"))
    over_seeds = all(count >= ENOUGH_SEEDS for count in seeds)
    what = "over the seeds" if over_seeds else "for drawing other test samples, at the mean over the seeds"
    few = (
        ""
        if over_seeds
        else f"; too few seeds for an interval over them, so each is a small hollow mark ({_range(seeds)} of them)"
    )
    return (
        "Accuracy after all timesteps over what a code takes, without exits: the codec is the shorter of packed and "
        "entropy-coded for each code, with its bytes rounded up. Beside a point: the code, C'×H'×W'. Dashed: the uncut "
        "network, and where there is one the control, an uncut network trained on the schedule of the codes. "
        f"Bars and bands: 95% intervals {what} ({_range(samples)} test samples){few}."
    )


def _range(values: Sequence[int]) -> str:
    return str(values[0]) if values[0] == values[-1] else f"{values[0]} to {values[-1]}"
