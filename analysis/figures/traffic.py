"""Traffic: accuracy over the bytes that a request sends, as payload and on the wire, by split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.figures import labels
from analysis.figures.look import pt
from analysis.figures.style import BLACK, HUES, MARKERS, NOTE_GREY, blank, key, mark_invalid, plain_log
from analysis.metrics import accuracy, mean_exit
from analysis.metrics import traffic as traffic_metric
from analysis.metrics.measured import Measured
from testbed.errors import RecordError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Sent:
    """A cell's accuracy in percent with its interval, and the bytes that a request sends up."""

    one: Measured
    percent: float
    ends: tuple[float, float]
    payload_bytes: float
    wire_bytes: float | None


def traffic(shown: Sequence[Measured]) -> tuple[Figure, str]:
    """Draw the figure; returns it with its caption.

    Raises:
        RecordError: no cell that sends anything has an accuracy.
    """
    series = by_split(shown)
    if not series:
        raise RecordError("no cell that sends anything has an accuracy")
    figure, ((axes,),) = blank(1, 1, 2.7, wide=True)
    for number, (name, points) in enumerate(series.items()):
        _draw(axes, name, points, number)
    for fraction, (label, *alike) in _levels(shown).items():
        named = f"{label} and {len(alike)} alike, 0 B" if alike else f"{label}, 0 B"
        axes.axhline(100 * fraction, color=BLACK, linewidth=pt(0.8), linestyle=(0, (4, 2)), zorder=0.9)
        axes.plot([], [], color=BLACK, linewidth=pt(0.8), linestyle=(0, (4, 2)), label=named)
    look: Any = {"linestyle": "none", "color": NOTE_GREY, "marker": "o", "markersize": pt(4.5)}
    axes.plot([], [], label="payload", **look)
    axes.plot([], [], label="on the wire", markerfacecolor="white", **look)
    mark_invalid(axes, [point.one for points in series.values() for point in points])
    axes.set_xscale("log")
    axes.margins(0.08, 0.08)
    plain_log(axes.xaxis)
    axes.set_xlabel("Mean bytes up per request [B]")
    axes.set_ylabel("Accuracy [%]")
    axes.grid(True)
    key(figure, *axes.get_legend_handles_labels())
    caption = (
        "Accuracy over the bytes that a request sends up, by where the network is split. Filled: payload. Hollow: "
        "on the wire, with headers, ZMTP and TCP/IP, joined to its payload. Beside a point: nominal compression and "
        "codec. "
        "Bars: 95% interval of the accuracy for drawing other samples of the data set."
    )
    return figure, caption


def by_split(shown: Sequence[Measured]) -> dict[str, list[Sent]]:
    """The cells that send anything, by what they send and by bytes."""
    found: dict[str, list[Sent]] = {}
    several = len({one.cell.manifest.dataset.name for one in shown}) > 1
    for one in shown:
        sent, right = one.get(traffic_metric.METRIC), one.get(accuracy.METRIC)
        if sent is None or right is None or sent.payload_up_bytes <= 0:
            continue
        model = one.cell.manifest.model
        name = "whole input" if one.cell.manifest.sends == "input" else f"split at {model.split}"
        point = Sent(
            one,
            100 * right.fraction,
            (100 * right.low, 100 * right.high),
            sent.payload_up_bytes,
            sent.wire_up_bytes,
        )
        task = f"{one.cell.manifest.dataset.name}, {model.backbone}" if several else model.backbone
        found.setdefault(f"{task}, {name}", []).append(point)
    return {name: sorted(points, key=lambda point: point.payload_bytes) for name, points in found.items()}


def _levels(shown: Sequence[Measured]) -> dict[float, list[str]]:
    """The accuracies of edges by themselves, each with the labels of those that have it."""
    found: dict[float, list[str]] = {}
    for baseline in {id(one.baseline.cell): one.baseline for one in shown if one.baseline}.values():
        if exact := baseline.get(accuracy.METRIC):
            found.setdefault(exact.fraction, []).append(baseline.label)
    return found


def _draw(axes: Axes, name: str, points: Sequence[Sent], number: int) -> None:
    colour, marker = HUES[number % len(HUES)], MARKERS[number % len(MARKERS)]
    look: Any = {"color": colour, "marker": marker, "markersize": pt(4.5), "linestyle": "none"}
    xs, ys = [point.payload_bytes for point in points], [point.percent for point in points]
    axes.errorbar(
        xs,
        ys,
        yerr=[[p.percent - p.ends[0] for p in points], [p.ends[1] - p.percent for p in points]],
        elinewidth=pt(0.6),
        ecolor=(colour, 0.4),
        capsize=pt(1.5),
        label=name,
        **look,
    )
    named: set[str] = set()
    for point in points:
        if point.wire_bytes is not None:
            axes.plot([point.payload_bytes, point.wire_bytes], 2 * [point.percent], color=colour, linewidth=pt(0.5))
            axes.plot(point.wire_bytes, point.percent, markerfacecolor="white", zorder=3, **look)
        text = _text(point.one)
        if text and text not in named:
            named.add(text)
            labels.add(axes, point.payload_bytes, point.percent, text, colour)


def _text(one: Measured) -> str:
    """The compression and the codec of what is sent, and where it has an exit the mean timestep of that."""
    manifest = one.cell.manifest
    if manifest.sends != "code" or manifest.model.compression is None:
        return ""
    stopped = one.get(mean_exit.METRIC)
    return f"{manifest.model.compression:g}× {manifest.codec}" + ("" if stopped is None else f", exit at {stopped:.1f}")
