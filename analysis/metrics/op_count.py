"""Energy of the edge's arithmetic per answered request on a hypothetical 45 nm chip. Counted, not measured.

4.6 pJ for each multiply-accumulate and 0.9 pJ for each accumulate (float32; Horowitz, ISSCC 2014) that
SpikingJelly's counters found in the layers which the edge runs, up to the timestep at which each request stopped. No
memory traffic, no codec, no radio, no idle power. It is 0 where the edge computes nothing. Other papers' op counts may
be set beside it, the other energies here may not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.alike import Alike
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
    """Mean over answered requests of the model's energy up to the timestep at which each stopped.

    Raises:
        RecordError: the model's counts do not fit its requests.
    """
    manifest = one.cell.manifest
    counts = manifest.model.op_counts
    if counts is None or not (one.cell.requests["outcome"] == "ok").any():
        return None
    name = manifest.mode_facts.edge_part
    part = None if name is None else getattr(counts, name)
    if part is None:
        return OpCount(0.0, 0.0, counts.samples, counts.source)
    rows, alike = one.answered, Alike(one.answered)
    last = rows["exit_timestep"].to_numpy(dtype=np.int64) - 1
    try:
        compute, memory = (
            alike.mean(np.asarray(energies)[last]) / PJ_PER_MJ
            for energies in (part.energy_compute_pj, part.energy_memory_pj)
        )
    except IndexError as error:
        raise RecordError(f"{one.cell.folder}: its model's op_counts do not fit its requests: {error}") from error
    return OpCount(compute, memory, counts.samples, counts.source)


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
