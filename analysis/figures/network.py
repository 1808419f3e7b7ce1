"""The network over time: rate, round trip and exits of one repeat; outages shaded, and behind what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.figures.look import look, pt, small
from analysis.figures.style import (
    BLACK,
    BLUE,
    GREY,
    NOTE_GREY,
    ORANGE,
    PURPLE,
    VERMILION,
    blank,
    key,
    mark_emulated,
    mark_invalid,
    plain_log,
    wrapped,
)
from analysis.metrics.measured import Measured
from analysis.timeline import GAP_S, Floats, Trace, asked_of, faults_of, first_requests, outages_of, trace_of
from testbed.errors import RecordError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CELLS = 2
_LEAST_HEIGHT_IN = 4.0  # of print, for four panels one below the other
_LEAST_BIN_S, _MOST_BINS = 0.1, 150
_LEAST_MEAN = 7  # requests
_FAR = 3.0  # asked for more than so many times what was carried: said in words, so that there is something to see
_COLOUR = {"up": BLUE, "down": PURPLE}
_DASH: Any = {"up": "-", "down": (0, (1, 0.8))}
_FAULT = "fault"
_SHADES = {"not answered": VERMILION, "answered by the edge": ORANGE, "no connection": GREY}


def network(shown: Sequence[Measured]) -> tuple[Figure, str]:
    """Draw the figure; returns it with its caption.

    Raises:
        RecordError: no cell recorded counters of its data connection while requests ran.
    """
    from matplotlib.patches import Patch

    is_low = look().most_high_in < _LEAST_HEIGHT_IN
    drawn = _picked(shown)[: 1 if look().narrow or is_low else MOST_CELLS]
    if not drawn:
        raise RecordError("no cell has counters of its data connection while requests ran")
    rows = 2 if is_low else 4
    figure, grid = blank(rows, 4 * len(drawn) // rows, 5.4, wide=True, sharex="col")
    for axes in grid[-1]:
        axes.set_xlabel("Time since the first request [s]")
    shades: set[str] = set()
    for column, (one, trace) in enumerate(drawn):
        panels = [axes for row in grid for axes in row] if is_low else [row[column] for row in grid]
        shades |= _draw_column(panels, one, trace)
    handles, names = grid[0][0].get_legend_handles_labels()
    for name in (name for name in _SHADES if name in shades):
        handles.append(Patch(color=_SHADES[name], alpha=0.3, linewidth=0))
        names.append(name)
    if _FAULT in shades:
        handles.append(Patch(color=BLACK, linewidth=0))
        names.append(_FAULT)
    key(figure, handles, names)
    caption = (
        "First repeat of a cell: bytes on the wire over time, the round trip (TCP's own has the other end's delayed "
        "acknowledgements in it), each request's latency, and the timestep at which it stopped (dots) with the running "
        "mean (line)."
    )
    if any(asked_of(one) for one, _ in drawn):
        caption += " Dashed lines and bands are what was asked of the link: mean, least and most."
    if shaded := [name for name in _SHADES if name in shades]:
        caption += f" Shaded: {', '.join(shaded)}."
    if _FAULT in shades:
        caption += " Black bars: a fault, as the experiment asks for."
    return figure, caption


def _picked(shown: Sequence[Measured]) -> list[tuple[Measured, Trace]]:
    """The first cell of each kind with counters; codes before inputs, with faults or an exit before without."""
    first: dict[Any, tuple[Measured, Trace]] = {}
    for one in shown:
        manifest = one.cell.manifest
        config = manifest.config
        kind = (manifest.sends != "code", not config.faults, config.fallback is None, manifest.exit is None)
        if manifest.sends != "nothing" and kind not in first and (trace := trace_of(one)) is not None:
            first[kind] = one, trace
    return [first[kind] for kind in sorted(first)]


def _draw_column(panels: Sequence[Axes], one: Measured, trace: Trace) -> set[str]:
    rate, rtt, took, exits = panels
    requests = first_requests(one)
    origin = int(requests["t_start_ns"].iloc[0])
    starts, ends = ((requests[name].to_numpy(np.int64) - origin) / 1e9 for name in ("t_start_ns", "t_end_ns"))
    _draw_rate(rate, one, trace, ends[-1])
    _draw_rtt(rtt, one, trace, ends[-1])
    _draw_latency(took, one, requests, ends)
    plain_log(took.yaxis)
    _draw_exits(exits, one, requests, ends)
    outages, faults = outages_of(requests, starts, ends, trace), faults_of(one, origin, ends[-1])
    for axes in panels:
        for name, spans in outages.items():
            for start, end in spans:
                axes.axvspan(start, end, color=_SHADES[name], alpha=0.15, linewidth=0)
        for start, end in faults:
            axes.axvspan(start, end, ymin=0.96, color=BLACK, linewidth=0)
        axes.grid(True)
    for axes in panels:
        axes.set_xlim(0, ends[-1])
    rate.set_title(wrapped(one.label, 2.2), loc="left", fontsize=small())
    if one.emulated:
        mark_emulated(rate)
    mark_invalid(rate, [one])
    return {name for name, spans in {**outages, _FAULT: faults}.items() if spans}


def _draw_rate(axes: Axes, one: Measured, trace: Trace, end_s: float) -> None:
    edges = np.linspace(0, end_s, max(2, min(_MOST_BINS, int(end_s / _LEAST_BIN_S)) + 1))
    middles = (edges[1:] + edges[:-1]) / 2
    unknown = np.zeros(len(middles), bool)
    for start, end in trace.gaps:
        unknown |= (middles > start) & (middles < end)
    most, beyond = 0.0, []
    for side, counter in (("up", trace.up), ("down", trace.down)):
        mbit_s = np.diff(np.interp(edges, trace.s, counter)) / np.diff(edges) * 8e-6
        mbit_s[unknown] = np.nan
        axes.stairs(mbit_s, edges, color=_COLOUR[side], linewidth=pt(1.0), label=side, baseline=None, ls=_DASH[side])
        most = max(most, float(np.nan_to_num(mbit_s).max()))
    for side, asked in asked_of(one).items():
        capacity = asked.get("mbit_s")
        if capacity is None:
            continue
        if capacity["min"] > _FAR * most:
            beyond.append(f"{side} {capacity['mean']:.3g}")
            continue
        axes.axhline(capacity["mean"], color=_COLOUR[side], linestyle="--", linewidth=pt(0.7))
        axes.axhspan(capacity["min"], capacity["max"], color=_COLOUR[side], alpha=0.08, linewidth=0)
    axes.set_ylim(0, 1.25 * most or 1.0)
    if beyond:
        said = f"asked: {', '.join(beyond)} Mbit/s"
        axes.text(0.99, 0.96, said, transform=axes.transAxes, ha="right", va="top", fontsize=small(), color=NOTE_GREY)
    axes.set_ylabel(_named("Rate [Mbit/s]", one))


def _draw_rtt(axes: Axes, one: Measured, trace: Trace, end_s: float) -> None:
    _draw_line(axes, trace.s, trace.rtt_ms)
    asked = asked_of(one)
    if asked:
        least = sum(float(direction["delay_ms"]) for direction in asked.values())
        axes.axhline(least, color="#444444", linestyle="--", linewidth=pt(0.7))
    inside = trace.rtt_ms[(trace.s >= 0) & (trace.s <= end_s)]
    inside = inside[inside > 0]
    if len(inside) and inside.max() > 30 * inside.min():
        axes.set_yscale("log")
        plain_log(axes.yaxis)
    else:
        axes.set_ylim(0, 1.3 * inside.max() if len(inside) else 1.0)
    axes.set_ylabel(_named("RTT [ms]", one))


def _draw_latency(axes: Axes, one: Measured, requests: pd.DataFrame, ends: Floats) -> None:
    latency_ms = requests["latency_ms"].to_numpy(np.float64)
    for which, style in _looks(requests):
        axes.plot(ends[which], latency_ms[which], **style)
    axes.set_yscale("log")
    axes.set_ylabel(_named("Latency [ms]", one))


def _looks(requests: pd.DataFrame) -> list[tuple[NDArray[np.bool_], dict[str, Any]]]:
    """Which requests are drawn how: answered by the cloud, by the edge, and not."""
    ok = (requests["outcome"] == "ok").to_numpy(bool)
    by_edge = ok & (requests["answered_by"] == "edge").to_numpy(bool)
    look: dict[str, Any] = {"linestyle": "", "markersize": pt(2.5), "markeredgewidth": pt(0.6)}
    return [
        (ok & ~by_edge, look | {"marker": "o", "color": GREY, "alpha": 0.8}),
        (by_edge, look | {"marker": "o", "markerfacecolor": "white", "color": ORANGE}),
        (~ok, look | {"marker": "x", "color": VERMILION}),
    ]


def _draw_line(axes: Axes, x: Floats, y: Floats) -> None:
    """A line that is not drawn over an outage."""
    cuts = np.flatnonzero(np.diff(x) > GAP_S) + 1
    axes.plot(np.insert(x, cuts, np.nan), np.insert(y, cuts, np.nan), color="#444444", linewidth=pt(1.0))


def _draw_exits(axes: Axes, one: Measured, requests: pd.DataFrame, ends: Floats) -> None:
    stopped = requests["exit_timestep"].to_numpy(np.float64, na_value=np.nan)
    ok = (requests["outcome"] == "ok").to_numpy(bool)
    for which, style in _looks(requests):
        axes.plot(ends[which], np.where(ok, stopped, 0.0)[which], **style)
    width = max(_LEAST_MEAN, ok.sum() // 40)
    if ok.sum() >= 2 * width:
        mean = np.convolve(stopped[ok], np.ones(width) / width, mode="valid")
        _draw_line(axes, ends[ok][width // 2 :][: len(mean)], mean)
    timesteps = one.cell.manifest.model.timesteps
    axes.set_ylim(-0.3 if (~ok).any() else 0.5, timesteps + 0.5)
    if (~ok).any():
        axes.set_yticks(range(timesteps + 1), ["none", *map(str, range(1, timesteps + 1))])
    else:
        axes.set_yticks(range(1, timesteps + 1))
    axes.set_ylabel("Exit timestep")


def _named(axis: str, one: Measured) -> str:
    return f"{axis}\n(emulated)" if one.emulated else axis
