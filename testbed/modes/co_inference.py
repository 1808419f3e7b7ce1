"""Co-inference: the edge sends a code at each timestep, the cloud answers with logits, and the edge may stop early."""

from __future__ import annotations

from testbed.record.mode import ModeFacts

FACTS = ModeFacts(
    name="co_inference",
    title="co-inference",
    roles=("edge", "cloud"),
    sends="code",
    exits=True,
    edge_part="edge",
    cloud_part="cloud",
)
