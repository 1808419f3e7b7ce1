"""Cloud-only: the edge sends its raw input once, and the uncompressed backbone runs on the cloud."""

from __future__ import annotations

from testbed.record.mode import ModeFacts

FACTS = ModeFacts(
    name="cloud_only",
    title="cloud-only",
    roles=("edge", "cloud"),
    sends="input",
    exits=False,
    edge_part=None,
    cloud_part="full",
)
