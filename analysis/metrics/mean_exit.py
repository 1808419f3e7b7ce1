"""Mean timestep, counted from 1, at which answered requests stopped; blank for a cell without an exit.

A request that the edge answered in place of its cloud has run all T. Each repeat counts alike, and in it each sample.
"""

from __future__ import annotations

from analysis.metrics.measured import Measured
from analysis.metrics.metric import Column, Heading, Metric
from analysis.texts import number


def mean_exit_timestep(one: Measured) -> float | None:
    """Where a cell's requests stopped in the mean; None for a cell without an exit."""
    if one.cell.manifest.exit is None:
        return None
    return one.alike_answered.mean(one.answered["exit_timestep"])


METRIC: Metric[float] = Metric(
    name="mean_exit",
    term="mean exit",
    doc=__doc__,
    of=mean_exit_timestep,
    columns=(Column("mean_exit_timestep", "timestep", lambda found: found),),
    headings=(Heading("mean exit", lambda found: number(found, 2)),),
)
