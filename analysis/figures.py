"""Figures for a paper: trade-off, latency by stage, power over time, early exit. PNG and PDF.

Measured and emulated quantities never share an axis; an emulated one says so on its axis and bears a mark.
Invalid and incomplete cells are left out and named under the figure, unless they are asked for.
"""

from __future__ import annotations

import io
import logging
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from analysis import labels
from analysis.energy import Meter, Phase, meter, node_of, phases
from analysis.metrics import STAGES, Measured, is_emulated
from analysis.replay import replay
from analysis.stats import Interval
from analysis.uncertainty import Budget
from testbed.errors import RecordError
from testbed.record.log import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

LOG = logging.getLogger(__name__)

# Okabe and Ito, "Color Universal Design" (2008).
_BLACK, _GREY = "#222222", "#9A9A9A"
_ORANGE, _SKY, _GREEN, _BLUE, _VERMILION, _PURPLE = (
    *("#E69F00", "#56B4E9", "#009E73"),
    *("#0072B2", "#D55E00", "#CC79A7"),
)
_MODE_COLOUR = {"edge_only": _VERMILION, "cloud_only": _BLUE, "co_inference": _GREEN}
_STAGE_COLOUR = dict(zip(STAGES, (_BLUE, _SKY, _ORANGE, _GREEN, "#C8C8C8"), strict=True))
_PHASE_COLOUR = {"idle_before": _SKY, "warmup": _ORANGE, "measure": _GREEN, "idle_after": _SKY}
_DASHES: Any = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1, 1, 1)))
_SHADE = 0.15
_WIDE, _COLUMN = 7.0, 3.5
_DPI = 200
_KEY_INCH_PER_LETTER = 0.056  # with its share of the mark and the number, at 7 pt
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.4,
    "grid.color": "#DDDDDD",
    "axes.axisbelow": True,
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
}


@dataclass(frozen=True)
class Drawing:
    """A figure, what it shows in a sentence or two, and its bytes as PNG and PDF."""

    name: str
    caption: str
    png: bytes
    pdf: bytes


def save(folder: Path, drawings: Sequence[Drawing]) -> list[Path]:
    """Write figures to `figures/`, as PNG and PDF."""
    paths = []
    for drawing in drawings:
        for suffix, data in ((".png", drawing.png), (".pdf", drawing.pdf)):
            paths.append(folder / "figures" / f"{drawing.name}{suffix}")
            write_atomically(paths[-1], data)
    return paths


def draw(measured: Sequence[Measured], include_invalid: bool = False) -> list[Drawing]:
    """Draw every figure that the cells allow; one that cannot be drawn is logged.

    Raises:
        RecordError: none can be drawn, with the reason of each.
    """
    import matplotlib as mpl

    drawn, refused = [], []
    with mpl.rc_context(_STYLE):
        for name, figure_of in _FIGURES.items():
            shown, note = accepted(measured, include_invalid)
            try:
                if not shown:
                    raise RecordError(f"no cell is complete and valid ({note})" if note else "no cells")
                figure, caption = figure_of(shown)
            except RecordError as error:
                refused.append(f"{name}: {error}")
                continue
            drawn.append(_finished(name, figure, caption, note))
    if not drawn:
        raise RecordError(f"no figure can be drawn: {'; '.join(refused)}")
    for reason in refused:
        LOG.warning("figure left out: %s", reason)
    return drawn


def draw_or_why(measured: Sequence[Measured], include_invalid: bool = False) -> tuple[list[Drawing], str]:
    """The figures that the cells allow; none, and why, where nothing is valid."""
    try:
        return draw(measured, include_invalid), ""
    except RecordError as error:
        return [], str(error)


def accepted(measured: Sequence[Measured], include_invalid: bool) -> tuple[list[Measured], str]:
    """The cells that a figure may show, and a note that names the others and why."""
    shown, refused = [], []
    for one in measured:
        if one.valid or (include_invalid and one.valid is False and one.latency):
            shown.append(one)
        else:
            why = "invalid" if one.valid is False else one.cell.status.state if one.cell.status else "unfinished"
            refused.append(f"{one.label} ({why})")
    return shown, f"Left out: {', '.join(refused)}." if refused else ""


def _finished(name: str, figure: Figure, caption: str, note: str) -> Drawing:
    if note:
        width = int(figure.get_figwidth() * 21)
        text = textwrap.fill(note, width)
        figure.supxlabel(text, fontsize=6.5, color="#555555", x=0.01, ha="left")
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    labels.settle(figure)
    data = {}
    for kind in ("png", "pdf"):
        sink = io.BytesIO()
        undated = {"CreationDate": None} if kind == "pdf" else None
        figure.savefig(sink, format=kind, dpi=_DPI, facecolor="white", metadata=undated)
        data[kind] = sink.getvalue()
    return Drawing(name, f"{caption} {note}".strip(), data["png"], data["pdf"])


def _blank(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, list[list[Axes]]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDE if columns > 1 or options else _COLUMN, height), layout="constrained")
    FigureCanvasAgg(figure)
    options.pop("wide", None)
    return figure, figure.subplots(rows, columns, squeeze=False, **options).tolist()


def _mark_emulated(axes: Axes) -> None:
    """The visible mark: above the axes, where no data lie."""
    box = {"boxstyle": "round,pad=0.25", "facecolor": _VERMILION, "edgecolor": "none"}
    axes.set_title("emulated", loc="right", fontsize=6.5, color="white", fontweight="bold", bbox=box, pad=5)


def _unit(quantity: str, unit: str, emulated: bool) -> str:
    return f"{quantity} (emulated) [{unit}]" if emulated else f"{quantity} [{unit}]"


def _half(interval: Interval | Budget) -> float:
    return interval.half or 0.0


def _repeats(measured: Sequence[Measured]) -> str:
    counts = sorted({one.cell.manifest.repeats for one in measured})
    return f"{counts[0]} repeats" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} repeats"


@dataclass(frozen=True)
class _Panel:
    """One x axis of the trade-off: a quantity, of measured or of emulated cells."""

    label: str
    emulated: bool
    points: list[tuple[Measured, float, float]]


def _tradeoff(shown: Sequence[Measured]) -> tuple[Figure, str]:
    """Accuracy against energy per request and against median latency."""
    panels = []
    for emulated in (False, True):
        kind = "emulated" if emulated else "measured"
        energies = [
            (one, one.energy.gross.mean, _half(one.energy.gross))
            for one in shown
            if one.energy and one.energy.source == kind
        ]
        latencies = [
            (one, one.latency.p50_ms, _half(one.latency.p50))
            for one in shown
            if one.latency and is_emulated(one.cell) == emulated
        ]
        panels.append(_Panel(_unit("Edge energy per request", "mJ", emulated), emulated, energies))
        panels.append(_Panel(_unit("Latency, median", "ms", emulated), emulated, latencies))
    panels = [panel for panel in panels if panel.points]
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    drawn = [one for one in shown if any(one is point[0] for panel in panels for point in panel.points)]
    key_columns = max(1, int(columns * _COLUMN / (_KEY_INCH_PER_LETTER * max(len(one.label) for one in drawn))))
    key_rows = -(-len(drawn) // key_columns)
    figure, grid = _blank(rows, columns, 2.75 * rows + 0.14 * key_rows)
    every = [axes for row in grid for axes in row]
    for axes in every[len(panels) :]:
        axes.remove()
    # By identity: a cell holds arrays and tables, which do not compare to true or false.
    numbers = {id(one): str(number) for number, one in enumerate(drawn, 1)}
    for axes, panel in zip(every, panels, strict=False):
        _tradeoff_panel(axes, panel, numbers)
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


def _key(one: Measured, number: str) -> Line2D:
    """An entry of the trade-off's legend: the cell's number, mark and name."""
    from matplotlib.lines import Line2D

    name = one.label if one.valid else f"{one.label} (invalid)"
    return Line2D([], [], linestyle="none", label=f"{number}  {name}", **_marker(one, is_emulated(one.cell)))


def _marker(one: Measured, emulated: bool) -> dict[str, Any]:
    """Colour tells the mode, a triangle an exit, a hollow mark an emulated quantity."""
    colour = _MODE_COLOUR[one.cell.manifest.mode]
    return {
        "marker": "^" if one.cell.manifest.exit else "o",
        "color": colour,
        "markerfacecolor": "white" if emulated else colour,
        "markersize": 5,
    }


def _tradeoff_panel(axes: Axes, panel: _Panel, numbers: Mapping[int, str]) -> None:
    for one, x, half in panel.points:
        exact = one.accuracy
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
        _mark_emulated(axes)


def _stages(shown: Sequence[Measured]) -> tuple[Figure, str]:
    """Mean latency by stage."""
    groups = [
        (emulated, [one for one in shown if one.stages_ms and is_emulated(one.cell) == emulated])
        for emulated in (False, True)
    ]
    groups = [(emulated, members) for emulated, members in groups if members]
    sizes = [len(members) + 0.6 for _, members in groups]
    height = 0.27 * sum(sizes) + 0.55 * len(groups) + 0.45
    figure, grid = _blank(len(groups), 1, height, wide=True, height_ratios=sizes)
    overlapping = False
    for (emulated, members), (axes,) in zip(groups, grid, strict=True):
        places = np.arange(len(members))[::-1]
        left = np.zeros(len(members))
        for stage in STAGES:
            values = np.array([one.stages_ms[stage] for one in members])
            overlapping = overlapping or bool((values < -1e-6).any())
            values = np.clip(values, 0, None)
            name = stage.replace("_", " ")
            axes.barh(places, values, 0.68, left=left, color=_STAGE_COLOUR[stage], label=name, linewidth=0)
            left += values
        for place, end, one in zip(places, left, members, strict=True):
            total = sum(one.stages_ms.values())
            axes.annotate(
                f"{total:.3g}",
                (end, place),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize=7,
            )
        axes.set_yticks(places, [one.label for one in members])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(_unit("Mean latency", "ms", emulated))
        axes.margins(x=0.08, y=0.02)
        axes.grid(True, axis="x")
        if emulated:
            _mark_emulated(axes)
    handles, names = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=len(STAGES), handlelength=1, columnspacing=1.4)
    caption = "Mean latency per request by stage, with its total. Network is round trips less cloud time."
    if overlapping:
        caption += " Where stages overlap in time, the bar is longer than the total."
    return figure, caption


def _power(shown: Sequence[Measured]) -> tuple[Figure, str]:
    """Power of the edge over one repeat, phases shaded."""
    from matplotlib.patches import Patch

    picked: dict[tuple[str, bool], tuple[Measured, Meter, list[Phase]]] = {}
    for one in shown:
        key = (one.cell.manifest.mode, one.cell.manifest.exit is not None)
        source = meter(one.cell) if one.energy else None
        if key in picked or source is None:
            continue
        repeat = int(one.cell.requests["repeat"].min())
        found = phases(one.cell, node_of(one.cell, "edge").id, repeat)
        if found:
            picked[key] = (one, source, found)
    if not picked:
        raise RecordError("no cell has power samples and phases of its edge")
    traces = list(picked.values())
    figure, grid = _blank(len(traces), 1, 1.15 * len(traces) + 0.7, wide=True, sharey=True)
    for (axes,), (one, source, found) in zip(grid, traces, strict=True):
        _power_panel(axes, one, source, found)
    shades = {"idle baseline": "idle_before", "warm-up": "warmup", "measurement": "measure"}
    patches = [Patch(color=_PHASE_COLOUR[name], alpha=2 * _SHADE, linewidth=0) for name in shades.values()]
    figure.legend(patches, list(shades), loc="outside upper left", ncols=len(shades), handlelength=1)
    grid[-1][0].set_xlabel("Time since the measurement began [s]")
    caption = (
        "Power of the edge over the first repeat of a cell of each kind (all rails of its source): samples "
        "(light) and running mean (dark). Energy is the integral over the requests of the measure phase."
    )
    return figure, caption


def _power_panel(axes: Axes, one: Measured, source: Meter, found: list[Phase]) -> None:
    emulated = source.energy_source == "emulated"
    origin = next((phase.start_ns for phase in found if phase.name == "measure"), found[0].start_ns)
    first = next(iter(source.rails.values()))
    inside = (first.t_ns >= found[0].start_ns) & (first.t_ns <= found[-1].end_ns)
    times = first.t_ns[inside]
    rails = [np.interp(times - origin, rail.t_ns - origin, rail.mw) for rail in source.rails.values()]
    watts = np.sum(rails, axis=0) / 1e3
    if len(times) < 2:
        raise RecordError(f"{one.label}: no power samples during its first repeat")
    seconds = (times - origin) / 1e9
    for phase in found:
        start, end = ((at - origin) / 1e9 for at in (phase.start_ns, phase.end_ns))
        colour = _PHASE_COLOUR.get(phase.name, _GREY)
        axes.axvspan(start, end, color=colour, alpha=_SHADE, linewidth=0)
    colour = _MODE_COLOUR[one.cell.manifest.mode]
    axes.plot(seconds, watts, color=colour, alpha=0.35, linewidth=0.5)
    width = max(1, len(watts) // 100)
    mean = np.convolve(watts, np.ones(width) / width, mode="valid")
    axes.plot(seconds[width // 2 :][: len(mean)], mean, color=colour, linewidth=1.1)
    axes.set_xlim(seconds[0], seconds[-1])
    axes.set_ylabel("Power [W]\n(emulated)" if emulated else "Power [W]")
    axes.set_title(one.label, loc="left", color=colour, fontsize=7.5)
    if emulated:
        _mark_emulated(axes)


def _exits(shown: Sequence[Measured]) -> tuple[Figure, str]:
    """Accuracy and mean exit timestep over the threshold, replayed; what was measured as points."""
    curves: dict[str, Measured] = {}
    for one in shown:
        if one.cell.manifest.exit is None and one.cell.manifest.sends != "input":
            curves.setdefault(_network_of(one), one)
    measured = [one for one in shown if one.cell.manifest.exit is not None and _network_of(one) in curves]
    rules = sorted({_rule(one) for one in measured}) or [("max_softmax", "mean")]
    figure, ((left, right),) = _blank(1, 2, 2.6)
    drawn, refused = 0, []
    thresholds = np.linspace(0, 1, 201)
    for index, (network, one) in enumerate(curves.items()):
        # A curve is dashed as well as coloured, so that one on top of another hides nothing.
        colour = _exit_colour(index, [other.cell.manifest.mode for other in curves.values()])
        for number, (policy, how) in enumerate(rules):
            style = _DASHES[(index + number) % len(_DASHES)]
            try:
                curve = replay(one.cell, policy, how, thresholds.tolist())
            except RecordError as error:
                refused.append(str(error))
                continue
            name = one.label if len(rules) == 1 else f"{one.label}, {policy}, {how}"
            left.plot(thresholds, 100 * curve["accuracy"], linestyle=style, color=colour, linewidth=1.2)
            right.plot(
                thresholds,
                curve["mean_exit_timestep"],
                linestyle=style,
                color=colour,
                linewidth=1.2,
                label=name,
            )
            drawn += 1
        for point in (one for one in measured if _network_of(one) == network):
            if (x := _alpha(point)) is None:
                continue
            marker: Any = {"marker": "^", "markersize": 6, "linestyle": "", "clip_on": False, "zorder": 3}
            marker |= {"color": colour, "markeredgecolor": "white"}
            if point.accuracy:
                left.plot(x, 100 * point.accuracy.fraction, **marker)
            right.plot(x, point.mean_exit_timestep or np.nan, **marker)
    if not drawn:
        raise RecordError("; ".join(refused) or "no edge_only or co_inference cell ran all timesteps")
    if any(_alpha(one) is not None for one in measured):
        right.plot([], [], marker="^", color=_GREY, linestyle="", markersize=5, label="measured with exit")
    left.set_ylabel("Accuracy [%]")
    right.set_ylabel("Mean exit timestep")
    for axes in (left, right):
        axes.set_xlabel("Exit threshold α")
        axes.set_xlim(0, 1)
        axes.grid(True)
    figure.legend(*right.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    told = " and ".join(f"{policy} of the {how}" for policy, how in rules)
    caption = (
        f"Early exit, replayed over the recorded timesteps of cells that ran all of them ({told} of the "
        "logits). Triangles are cells that really exited early. Neither quantity depends on a node's speed."
    )
    if any(_alpha(one) is None for one in measured):
        caption += " Cells with a threshold for each timestep have no place on this axis and are not drawn."
    return figure, caption


def _exit_colour(index: int, modes: Sequence[str]) -> str:
    """The mode's colour for its first curve, another one for the next."""
    if modes.index(modes[index]) == index:
        return _MODE_COLOUR[modes[index]]
    return (_BLUE, _PURPLE, _ORANGE, _SKY, _BLACK)[index % 5]


def _network_of(one: Measured) -> str:
    """What decides the logits: mode, model and data; links and codecs do not."""
    manifest = one.cell.manifest
    return msgspec.json.encode([manifest.mode, manifest.model, manifest.dataset]).decode()


def _rule(one: Measured) -> tuple[Any, Any]:
    rule = one.cell.manifest.exit
    assert rule is not None  # noqa: S101  (the caller chose by it)
    return rule.policy, rule.accumulate


def _alpha(one: Measured) -> float | None:
    """The one threshold of a cell's exit; None where every timestep has its own."""
    rule = one.cell.manifest.exit
    return None if rule is None else rule.threshold


_FIGURES: dict[str, Callable[[Sequence[Measured]], tuple[Figure, str]]] = {
    "tradeoff": _tradeoff,
    "stages": _stages,
    "power": _power,
    "exits": _exits,
}
