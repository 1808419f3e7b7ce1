"""The smallest differences that a campaign can resolve, from a baseline that was measured twice (an A/A pair).

Nothing differs between the two cells, so whatever they differ by is the campaign's own: order, heat, other work of the
machines. Of each comparison the end of its interval that lies farther from no difference is taken. A difference that is
smaller might have been seen between two cells that are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.energy import EnergySource
from analysis.metrics import accuracy, accuracy_drop, energy_net_saving, energy_saving, latency_speedup
from analysis.metrics.comparison import Compared
from analysis.metrics.measured import Measured
from analysis.texts import significant

NO_PAIR = "No A/A pair: what this campaign can resolve is not known. A second baseline cell (again: true) shows it."


@dataclass(frozen=True)
class Resolution:
    """The smallest resolvable difference of each comparison with the baseline `of`; None where there is no interval.

    A drop is in points and never below what a single sample counts. A speed-up is a difference of ratios. A saving is
    in percent of the baseline's energy, gross or net. `differs` names the comparisons in which the pair itself is
    resolved, which of one cell against itself happens once in twenty.
    """

    pair: Measured
    of: Measured
    drop_points: float | None
    speedup: float | None
    saving_pct: float | None
    net_saving_pct: float | None
    saving_source: EnergySource | None
    differs: tuple[str, ...]

    @property
    def text(self) -> str:
        """One sentence or two for people."""
        emulated = " (emulated)" if self.of.emulated else ""
        parts = [
            f"{significant(value)}{what}"
            for value, what in (
                (self.drop_points, " points of accuracy"),
                (self.speedup, f"× of speed-up{emulated}"),
                (self.saving_pct, f"% of energy ({self.saving_source})"),
                (self.net_saving_pct, f"% of net energy ({self.saving_source})"),
            )
            if value is not None
        ]
        if not parts:
            return f"The A/A pair of {self.of.label} has too few repeats to tell what can be resolved."
        said = f"The smallest differences that this campaign can resolve, from {self.of.label} measured twice (A/A): "
        doubt = f" The pair itself differs in {', '.join(self.differs)}." if self.differs else ""
        return said + ", ".join(parts) + "." + doubt


def resolutions(measured: Sequence[Measured]) -> list[Resolution]:
    """One for each A/A pair that was measured to its end."""
    return [_resolution(one, one.baseline) for one in measured if one.cell.manifest.config.again and one.baseline]


def resolution_of(one: Measured, found: Sequence[Resolution]) -> Resolution | None:
    """The A/A pair of the baseline that a cell is compared with."""
    return next((each for each in found if one.baseline and each.of.cell is one.baseline.cell), None)


def _resolution(pair: Measured, of: Measured) -> Resolution:
    drop, speedup = pair.get(accuracy_drop.METRIC), pair.get(latency_speedup.METRIC)
    saving, right = pair.get(energy_saving.METRIC), pair.get(accuracy.METRIC)
    net = pair.get(energy_net_saving.METRIC)
    points = _farther(drop)
    if points is not None and right is not None:
        points = max(points, 100 / right.samples)
    named = {"accuracy": drop, "speed-up": speedup, "saving": saving}
    return Resolution(
        pair=pair,
        of=of,
        drop_points=points,
        speedup=_farther(speedup),
        saving_pct=_farther(saving),
        net_saving_pct=_farther(net) if net is not None and net.mostly_idle else None,
        saving_source=None if saving is None else saving.source,
        differs=tuple(name for name, found in named.items() if found is not None and found.resolved),
    )


def _farther(found: Compared | None) -> float | None:
    if found is None or found.low is None or found.high is None:
        return None
    return max(abs(found.low - found.none), abs(found.high - found.none))
