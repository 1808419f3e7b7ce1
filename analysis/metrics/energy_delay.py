"""Energy–delay product: the edge's mean gross energy per request times the mean latency of answered requests.

Both are of the same repeat. Mean over repeats ± 95% interval: the spread of the repeats' own products, and the
systematic parts of the energy times the latency.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis.energy import KINDS, EnergySource
from analysis.metrics import energy, latency
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Column, Heading, Line, Metric
from analysis.texts import plus_minus, plus_minus_or_why
from analysis.uncertainty import Budget, PartName, budget


@dataclass(frozen=True)
class EnergyDelay:
    """The product in mJ·ms with its interval, and of which kind of energy."""

    product: Budget
    source: EnergySource


def energy_delay(one: Measured) -> EnergyDelay | None:
    """The product over the repeats that have both; None where there is no energy."""
    drawn, took = one.get(energy.METRIC), one.get(latency.METRIC)
    if drawn is None or took is None:
        return None
    means = took.mean_per_repeat_ms
    both = sorted(drawn.per_repeat_mj.keys() & means.keys())
    if not both:
        return None
    systematic: dict[PartName, float] = {
        name: value for name, value in drawn.gross.standard.items() if name != "repeats"
    }
    products = [drawn.per_repeat_mj[repeat] * means[repeat] for repeat in both]
    parts: list[dict[PartName, float]] = [
        {name: value * means[repeat] for name, value in systematic.items()} for repeat in both
    ]
    return EnergyDelay(budget(products, parts), drawn.source)


def _heading(kind: EnergySource) -> Heading[EnergyDelay]:
    return Heading(
        f"EDP ({kind}) [mJ·ms]",
        lambda found: plus_minus(found.product.mean, found.product.half),
        only=lambda found: found.source == kind,
    )


def _details(found: EnergyDelay) -> list[Line]:
    text = plus_minus_or_why(found.product.mean, found.product.half)
    return [(f"energy–delay product ({found.source})", f"{text} mJ·ms")]


METRIC = Metric(
    name="energy_delay",
    term="EDP",
    doc=__doc__,
    of=energy_delay,
    needs=(energy.METRIC, latency.METRIC),
    columns=(
        Column("edp_mj_ms", "mJ·ms", lambda found: found.product.mean),
        Column("edp_mj_ms_ci95", "mJ·ms", lambda found: found.product.half),
    ),
    headings=tuple(_heading(kind) for kind in KINDS),
    details=_details,
)
