"""Energy of the edge's arithmetic per answered request on a hypothetical 45 nm chip. Counted, not measured.

4.6 pJ for each multiply-accumulate and 0.9 pJ for each accumulate in float32 (Horowitz, ISSCC 2014). In layers of 8-bit
integers they are 0.23 and 0.03 pJ. SpikingJelly's counters count them in the layers that the edge runs. They count up
to the last timestep that it computed, also where an earlier one answered. No memory traffic, no codec, no radio, no
idle power. It is 0 where the edge computes nothing. A request that the edge answered in place of its cloud costs the
whole network. What was computed before the cloud was given up is not counted. Other papers' op counts may be set beside
it, the other energies here may not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.fallback import fell_back
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Column, Heading, Line, Metric
from analysis.texts import significant
from testbed.errors import RecordError

PJ_PER_MJ = 1e9


@dataclass(frozen=True)
class OpCount:
    """The edge's op-count energy per answered request, mJ: arithmetic, and memory apart.

    `samples` is how many test samples the operations were counted on, `source` who counted and whose constants.
    """

    compute_mj: float
    memory_mj: float
    samples: int
    source: str


def op_count(one: Measured) -> OpCount | None:
    """Mean over answered requests of the model's energy up to the last timestep that the edge computed for each.

    Raises:
        RecordError: the model's counts do not fit its requests.
    """
    manifest = one.cell.manifest
    counts = manifest.model.op_counts
    if counts is None or not (one.cell.requests["outcome"] == "ok").any():
        return None
    name = manifest.mode_facts.edge_part
    part = None if name is None else getattr(counts, name)
    rows, alike = one.answered, one.alike_answered
    alone = fell_back(one.cell, rows)
    ahead = np.where(alone, 0, rows["wasted_timesteps"].fillna(0).to_numpy(dtype=np.int64))
    last = rows["exit_timestep"].to_numpy(dtype=np.int64) + ahead - 1

    def mean_mj(energies: str) -> float:
        pj = np.zeros(len(rows))
        for chosen, cost in ((~alone, part), (alone, counts.full)):
            if cost is not None:
                pj[chosen] = np.asarray(getattr(cost, energies))[last[chosen]]
        return alike.mean(pj) / PJ_PER_MJ

    try:
        compute_mj, memory_mj = mean_mj("energy_compute_pj"), mean_mj("energy_memory_pj")
    except IndexError as error:
        raise RecordError(f"{one.cell.folder}: its model's op_counts do not fit its requests: {error}") from error
    return OpCount(compute_mj, memory_mj, counts.samples, counts.source)


def _details(found: OpCount) -> list[Line]:
    compute, memory = significant(1e3 * found.compute_mj), significant(1e3 * found.memory_mj)
    energies = f"{compute} µJ of arithmetic; memory apart: {memory} µJ"
    return [("edge op count, not measured", f"{energies} ({found.samples} samples counted; {found.source})")]


METRIC = Metric(
    name="op_count",
    term="op count",
    doc=__doc__,
    of=op_count,
    columns=(Column("energy_op_count_mj", "mJ", lambda found: found.compute_mj),),
    headings=(Heading("op count [µJ]", lambda found: significant(1e3 * found.compute_mj), only=lambda _: True),),
    details=_details,
)
