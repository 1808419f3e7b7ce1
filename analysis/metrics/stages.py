"""Mean milliseconds per answered request of each stage of the latency; the rest is what no stage explains.

Queue is how long a request waited for its turn. Network is the time in which the edge waited for an answer, less the
cloud's time. Where each answer is waited for that is round trips less cloud time. The cloud's stage is as much of its
time as was waited for. A wait for an answer that did not come is in the rest. Work that the edge did while answers were
under way is part of its stages, and overlaps what would else have been waiting.
"""

from __future__ import annotations

from analysis.metrics.measured import Measured
from analysis.metrics.metric import Metric

STAGES = ("queue", "edge_compute", "encode", "network", "cloud_compute", "rest")
"""The parts of a request's latency; `rest` is what the others leave unexplained."""

BESIDE = "beside"
"""How much of the edge's stages passed while answers were under way."""


def stages_ms(one: Measured) -> dict[str, float]:
    """Mean milliseconds of each of `STAGES`, and of `BESIDE`."""
    rows, alike = one.answered, one.alike_answered
    waited = (rows["wait_ms"] - rows["network_ms"]).fillna(rows["cloud_compute_ms"])
    means = {stage: alike.mean(rows[f"{stage}_ms"].fillna(0.0)) for stage in STAGES if stage != "rest"}
    means["cloud_compute"] = alike.mean(waited)
    rest = alike.mean(rows["latency_ms"]) - sum(means.values())
    return {**means, "rest": rest, BESIDE: alike.mean(rows["beside_ms"].fillna(0.0))}


METRIC = Metric(name="stages", term="stages", doc=__doc__, of=stages_ms)
