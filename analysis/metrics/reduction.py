"""All T timesteps of features at the split, as float32 or as one bit each, over the payload bytes really sent.

T·C·H·W · 4 bytes, or / 8, over the mean payload per answered request; so early exits and entropy coding count. Blank
where no features are sent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from analysis.metrics import traffic
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Column, Heading, Metric
from analysis.texts import times
from testbed.errors import RecordError


@dataclass(frozen=True)
class Reduction:
    """How many times fewer bytes are sent than features would take."""

    vs_float32: float
    vs_packed: float


def reduction(one: Measured) -> Reduction | None:
    """Both reductions of a cell that sends codes.

    Raises:
        RecordError: its model does not say which features it has.
    """
    manifest, sent = one.cell.manifest, one.get(traffic.METRIC)
    if manifest.sends != "code" or sent is None or sent.payload_up_bytes == 0:
        return None
    if manifest.model.feature_shape is None:
        raise RecordError(f"{one.cell.folder}: its model does not say feature_shape")
    bits = manifest.model.timesteps * math.prod(manifest.model.feature_shape)
    return Reduction(bits * 4 / sent.payload_up_bytes, bits / 8 / sent.payload_up_bytes)


METRIC = Metric(
    name="reduction",
    term="vs float32, vs packed",
    doc=__doc__,
    of=reduction,
    needs=(traffic.METRIC,),
    columns=(
        Column("reduction_vs_float32", "×", lambda found: found.vs_float32),
        Column("reduction_vs_packed", "×", lambda found: found.vs_packed),
    ),
    headings=(
        Heading("vs float32", lambda found: times(found.vs_float32)),
        Heading("vs packed", lambda found: times(found.vs_packed)),
    ),
)
