"""Share of the answered requests that the edge answered by itself, its cloud being late or gone.

Blank for a cell without a fallback. Such an answer is the whole network's, so the accuracy is a mixture. Each repeat
counts alike, and in it each sample.
"""

from __future__ import annotations

from analysis.fallback import fell_back
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Column, Heading, Metric
from analysis.texts import number


def edge_share(one: Measured) -> float | None:
    """The share, a fraction; None for a cell without a fallback."""
    if one.cell.manifest.config.fallback is None:
        return None
    return one.alike_answered.mean(fell_back(one.cell, one.answered))


METRIC: Metric[float] = Metric(
    name="edge_share",
    term="by edge",
    doc=__doc__,
    of=edge_share,
    columns=(Column("edge_share", "fraction", lambda found: found),),
    headings=(Heading("by edge [%]", lambda found: number(100 * found, 1), only=lambda _: True),),
    details=lambda found: [("answered by the edge alone", f"{100 * found:.1f}% of the answered requests")],
)
