"""The headline: what the paper claims beside what was measured here, for each data set and backbone.

The paper is NeuCODEX (arXiv 2509.19156). Its 2048x is nominal: 64 times fewer elements, of one bit in place of 32. What
is measured are bytes per request, over all T timesteps of features, as float32 and as one bit each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.energy import EnergySource
from analysis.metrics import (
    accuracy_drop,
    cloud_energy_source,
    energy_net_saving,
    energy_saving,
    latency_speedup,
    reduction,
)
from analysis.metrics.comparison import Compared
from analysis.metrics.measured import Measured
from analysis.resolution import Resolution, resolution_of, resolutions

MOST_DROP_POINTS = 2.0
"""The drop that the paper stays below; among the cells that do, the one that saves most stands in the headline."""


@dataclass(frozen=True)
class Entry:
    """One quantity: the paper's claim, the number here, and its 95% interval; None where there is none.

    Bytes and answers are measured on an emulated node too. `note` says what else has to be known. `smallest` is the
    smallest difference that the A/A pair of the campaign resolves; None where there is no pair, or nothing to resolve.
    """

    quantity: str
    unit: str
    paper: str
    found: Compared | None
    source: EnergySource
    note: str = ""
    smallest: float | None = None

    @property
    def within_pair(self) -> bool:
        """Whether two cells that are the same may differ by as much."""
        found = self.found
        return found is not None and self.smallest is not None and abs(found.value - found.none) < self.smallest

    @property
    def resolved(self) -> bool | None:
        """Whether the interval leaves no difference outside, and the A/A pair differs by less; None without one."""
        resolved = None if self.found is None else self.found.resolved
        return resolved and not self.within_pair


@dataclass(frozen=True)
class Headline:
    """The headline of one data set and backbone: that of one co-inference cell, chosen among so many.

    `form` is that of its weights, where others of the data set and backbone have another form.
    """

    dataset: str
    backbone: str
    form: str
    cell: Measured
    chosen_of: int
    entries: tuple[Entry, ...]
    resolution: Resolution | None

    @property
    def network(self) -> str:
        """Its backbone, with the form of its weights where that tells it from another."""
        return f"{self.backbone}, {self.form}" if self.form else self.backbone


def headlines(measured: Sequence[Measured]) -> list[Headline]:
    """One for each data set, backbone and edge in which a valid co-inference cell is compared with a baseline.

    Among the cells that send a code of spikes, of a bottleneck where there is one, the one is taken that loses fewer
    than two points and saves most energy; where the edge is not metered, the fastest. Where each loses more, the one
    that loses least.
    """
    pairs = resolutions(measured)
    groups: dict[int, list[Measured]] = {}
    for one in measured:
        if one.baseline is not None and one.valid and _sends_spikes(one):
            groups.setdefault(id(one.baseline.cell), []).append(one)
    forms: dict[tuple[str, str], set[str]] = {}
    for cells in groups.values():
        manifest = cells[0].cell.manifest
        forms.setdefault((manifest.dataset.name, manifest.model.backbone), set()).add(manifest.model.weights)
    found = []
    for cells in groups.values():
        cells = [one for one in cells if one.cell.manifest.model.bottleneck] or cells
        best = max(cells, key=_merit)
        pair = resolution_of(best, pairs)
        dataset, model = best.cell.manifest.dataset.name, best.cell.manifest.model
        found.append(
            Headline(
                dataset=dataset,
                backbone=model.backbone,
                form=model.weights if len(forms[dataset, model.backbone]) > 1 else "",
                cell=best,
                chosen_of=len(cells),
                entries=entries(best, pair),
                resolution=pair,
            )
        )
    return found


def entries(one: Measured, pair: Resolution | None = None) -> tuple[Entry, ...]:
    """The quantities of one cell, in the order of the paper's abstract; `pair` is the A/A pair of its baseline.

    The net saving stands beside the gross one where most of the energy is the idle board's.
    """
    drop, points = one.get(accuracy_drop.METRIC), pair.drop_points if pair else None
    faster, ratio = one.get(latency_speedup.METRIC), pair.speedup if pair else None
    less = one.get(reduction.METRIC)
    as_payload = (None, None) if less is None else (less.payload_vs_float32, less.payload_vs_packed)
    on_wire = (None, None) if less is None else (less.wire_vs_float32, less.wire_vs_packed)
    saved, net = one.get(energy_saving.METRIC), one.get(energy_net_saving.METRIC)
    timed: EnergySource = "emulated" if one.emulated else "measured"
    cloud = one.get(cloud_energy_source.METRIC)
    unmetered = f"cloud {cloud}" if cloud == cloud_energy_source.NOT_METERED else ""
    return (
        Entry("data, payload vs float32", "×", "up to 2048", as_payload[0], "measured"),
        Entry("data, payload vs packed", "×", "up to 64", as_payload[1], "measured"),
        Entry("data, wire vs float32", "×", "not stated", on_wire[0], "measured"),
        Entry("data, wire vs packed", "×", "not stated", on_wire[1], "measured"),
        Entry(
            "edge energy saving",
            "%",
            "above 90",
            saved,
            saved.source if saved else timed,
            unmetered,
            pair.saving_pct if pair else None,
        ),
        *(
            [
                Entry(
                    "edge energy saving, net of idle",
                    "%",
                    "not stated",
                    net,
                    net.source,
                    unmetered,
                    pair.net_saving_pct if pair else None,
                )
            ]
            if net is not None and net.mostly_idle
            else []
        ),
        Entry("speed-up of median latency", "×", "up to 3", faster, timed, smallest=ratio),
        Entry("accuracy drop", "points", "below 2", drop, "measured", smallest=points),
    )


def _sends_spikes(one: Measured) -> bool:
    manifest = one.cell.manifest
    # The paper's numbers are of one request after the other.
    alone = manifest.config.scenario.kind == "single_stream" and manifest.config.fallback is None
    return manifest.sends == "code" and manifest.codec != "float32" and alone


def _merit(one: Measured) -> tuple[float, float]:
    drop, saved = one.get(accuracy_drop.METRIC), one.get(energy_saving.METRIC)
    faster = one.get(latency_speedup.METRIC)
    lost = drop.value if drop is not None else 100.0
    gain = saved.value if saved is not None else faster.value if faster is not None else 0.0
    return (1.0, gain) if lost < MOST_DROP_POINTS else (-lost, gain)
