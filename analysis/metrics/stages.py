"""Mean milliseconds per answered request of each stage of the latency; the rest is what no stage explains.

Network is round trips less the cloud's time. Stages that overlap in time make the rest negative.
"""

from __future__ import annotations

from analysis.alike import Alike
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Metric

STAGES = ("edge_compute", "encode", "network", "cloud_compute", "rest")
"""The parts of a request's latency; `rest` is what the other four leave unexplained."""


def stages_ms(one: Measured) -> dict[str, float]:
    """Mean milliseconds of each of `STAGES`."""
    rows, alike = one.answered, Alike(one.answered)
    means = {stage: alike.mean(rows[f"{stage}_ms"]) for stage in STAGES if stage != "rest"}
    return {**means, "rest": alike.mean(rows["latency_ms"]) - sum(means.values())}


METRIC = Metric(name="stages", term="stages", doc=__doc__, of=stages_ms)
