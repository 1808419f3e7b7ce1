"""Edge-only: the uncompressed backbone runs on the edge alone. Without an exit it is the baseline."""

from __future__ import annotations

from testbed.record.mode import ModeFacts

FACTS = ModeFacts(
    name="edge_only",
    title="edge-only",
    roles=("edge",),
    sends="nothing",
    exits=True,
    edge_part="full",
    cloud_part=None,
)
