"""Load: median and 99th percentile of the latency over the rate at which requests arrive at the edge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from analysis.figures.look import pt
from analysis.figures.style import (
    DASHES,
    HUES,
    MARKERS,
    NOTE_GREY,
    key,
    mark_emulated,
    mark_invalid,
    panels,
    plain_log,
    with_unit,
)
from analysis.metrics import latency, queue, throughput
from analysis.metrics.latency import Latency
from analysis.metrics.measured import Measured
from testbed.errors import RecordError
from testbed.record.documents import ScenarioDocument

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Series = list[tuple[str, list[Measured]]]
"""Lines: a name, and the cells in the order of their rates."""
Quantity = Callable[[Latency], tuple[float, float | None]]

_PERCENTILES: tuple[tuple[str, Quantity], ...] = (
    ("Latency, median", lambda found: (found.p50_ms, found.p50.half)),
    ("Latency, 99th percentile", lambda found: (found.p99_ms, found.p99.half)),
)


def load(shown: Sequence[Measured]) -> tuple[Figure, str]:
    """Draw the figure; returns it with its caption.

    Raises:
        RecordError: no two cells differ by their rate of arrivals alone.
    """
    groups = [(emulated, _series([one for one in shown if one.emulated == emulated])) for emulated in (False, True)]
    groups = [(emulated, series) for emulated, series in groups if series]
    if not groups:
        raise RecordError("no two cells differ in the rate alone at which requests arrive (scenario.target_qps)")
    figure, every = panels(2 * len(groups), 2.0)
    for place, axes in enumerate(every):
        (emulated, series), (name, quantity) = groups[place // 2], _PERCENTILES[place % 2]
        _draw(axes, series, quantity, shown)
        axes.set_ylabel(with_unit(name, "ms", emulated, lines=2))
        if emulated:
            mark_emulated(axes)
        mark_invalid(axes, [one for _, cells in series for one in cells])
    found = [axes.get_legend_handles_labels() for axes in every[::2]]
    key(figure, [each for handles, _ in found for each in handles], [each for _, names in found for each in names])
    caption = (
        "Latency over the requests that arrived in a second, with 95% intervals over repeats. It runs from a request's "
        "arrival, so waiting for its turn is in it. Arrivals are random (Poisson), the same for all cells at a rate. A "
        "dotted line is the bound within which a server has to answer 99%. A vertical line is the throughput of the "
        "same cell where all requests are there at once (offline): more than that cannot be kept up with."
    )
    return figure, caption


def _series(shown: Sequence[Measured]) -> Series:
    """Cells by what they share beside their rate, each line in the order of its rates; a single cell is no line."""
    found: dict[bytes, list[Measured]] = {}
    for one in shown:
        if one.cell.manifest.config.scenario.kind == "server" and one.get(latency.METRIC) is not None:
            found.setdefault(_but_for_its_rate(one), []).append(one)
    lines = [sorted(cells, key=_offered) for cells in found.values() if len(cells) > 1]
    return [(_name(cells), cells) for cells in lines]


def _but_for_its_rate(one: Measured) -> bytes:
    return _configuration(one, msgspec.structs.replace(one.cell.manifest.config.scenario, target_qps=None))


def _as_offline(one: Measured) -> bytes:
    scenario = one.cell.manifest.config.scenario
    return _configuration(one, msgspec.structs.replace(scenario, kind="offline", target_qps=None, deadline_ms=None))


def _configuration(one: Measured, scenario: ScenarioDocument) -> bytes:
    """All that decides a cell's numbers, with another scenario."""
    manifest = one.cell.manifest
    config = msgspec.structs.replace(manifest.config, scenario=scenario, position=0, baseline=False)
    return msgspec.json.encode([config, manifest.model.hash, sorted(manifest.nodes)])


def _capacity_qps(one: Measured, shown: Sequence[Measured]) -> float | None:
    """What the edge of a cell can do at most: its throughput where all requests are there at once; None: not shown."""
    for other in shown:
        is_offline = other.cell.manifest.config.scenario.kind == "offline"
        if is_offline and _as_offline(other) == _as_offline(one) and (found := other.get(throughput.METRIC)):
            return found.qps.mean
    return None


def _name(cells: Sequence[Measured]) -> str:
    """The words that their labels share."""
    first, *others = (one.label.split(", ") for one in cells)
    return ", ".join(word for word in first if all(word in other for other in others)) or cells[0].label


def _offered(one: Measured) -> float:
    found = one.get(queue.METRIC)
    return 0.0 if found is None or found.offered_qps is None else found.offered_qps


def _draw(axes: Axes, series: Series, quantity: Quantity, shown: Sequence[Measured]) -> None:
    seen: list[float] = []
    for number, (name, cells) in enumerate(series):
        points = [(_offered(one), *quantity(found)) for one in cells if (found := one.get(latency.METRIC)) is not None]
        seen += [y for _, y, _ in points]
        axes.errorbar(
            [x for x, _, _ in points],
            [y for _, y, _ in points],
            yerr=[half or 0.0 for _, _, half in points],
            label=name,
            color=HUES[number % len(HUES)],
            linestyle=DASHES[number % len(DASHES)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=pt(3.5),
            linewidth=pt(1.0),
            capsize=pt(1.5),
            elinewidth=pt(0.7),
        )
        if (most_qps := _capacity_qps(cells[0], shown)) is not None:
            style: Any = {"linestyle": DASHES[number % len(DASHES)], "linewidth": pt(0.8), "alpha": 0.6}
            axes.axvline(most_qps, color=HUES[number % len(HUES)], **style)
    bounds = {one.cell.manifest.config.scenario.deadline_ms for _, cells in series for one in cells}
    for bound in sorted(each for each in bounds if each is not None):
        seen.append(bound)
        axes.axhline(bound, color=NOTE_GREY, linewidth=pt(0.8), linestyle=":")
    axes.set_xlabel("Requests that arrive [1/s]")
    axes.set_yscale("log")
    axes.set_xlim(left=0)
    axes.set_ylim(min(seen) / 1.5, 1.5 * max(seen))  # an interval of two repeats may reach to the end of the world
    plain_log(axes.yaxis)
    axes.grid(True)
