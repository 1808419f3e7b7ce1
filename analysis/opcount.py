"""Op-count energy: what the edge's arithmetic would cost at 45 nm. Counted at export, never measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from testbed.errors import RecordError
from testbed.record.reader import Cell

PJ_PER_MJ = 1e9
PARTS: dict[str, Literal["full", "edge"]] = {"nothing": "full", "code": "edge"}
"""Which part of the model's counts the edge runs, by what it sends; where it sends its input it runs none."""


@dataclass(frozen=True)
class OpCount:
    """The edge's op-count energy per answered request, mJ: arithmetic, and memory apart.

    `samples` is how many test samples the operations were counted on, `source` who counted and whose constants.
    """

    compute_mj: float
    memory_mj: float
    samples: int
    source: str


def op_count(cell: Cell) -> OpCount | None:
    """Mean over answered requests of the model's energy up to the timestep at which each stopped.

    0 for `cloud_only`, whose edge computes nothing. None where the model carries no counts or nothing was answered.

    Raises:
        RecordError: the model's counts do not fit its requests.
    """
    counts = cell.manifest.model.op_counts
    exits = cell.requests.loc[cell.requests["outcome"] == "ok", "exit_timestep"]
    if counts is None or exits.empty:
        return None
    part = PARTS.get(cell.manifest.sends)
    last = exits.to_numpy(dtype=np.int64) - 1
    try:
        compute, memory = (
            0.0 if part is None else float(np.asarray(getattr(getattr(counts, part), energy))[last].mean()) / PJ_PER_MJ
            for energy in ("energy_compute_pj", "energy_memory_pj")
        )
        return OpCount(compute, memory, counts.samples, counts.source)
    except IndexError as error:
        raise RecordError(f"{cell.folder}: its model's op_counts do not fit its requests: {error}") from error
