"""What a cloud did for timesteps whose answers nobody waited for any more, and the requests that they were of.

An edge that has its exit, or gave up, goes on with the next request. Answers that are still on their way come then,
and each says what it took the cloud.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from testbed.record.resent import Request
from testbed.record.schema import RequestRow

LATE = "late"
"""A row log of an edge, in `raw` alone."""


class LateRow(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that came after its request had ended."""

    node: str
    repeat: int
    request_id: int
    timestep: int
    cloud_ns: int
    payload_bytes: int


class InVain(NamedTuple):
    """What the cloud computed and sent for nothing."""

    cloud_ms: float
    down_bytes: int


def in_vain(late: Iterable[LateRow]) -> dict[Request, InVain]:
    """What came late, by request."""
    found: dict[Request, InVain] = {}
    for row in late:
        key = (row.node, row.repeat, row.request_id)
        ms, down = found.get(key, InVain(0.0, 0))
        found[key] = InVain(ms + row.cloud_ns / 1e6, down + row.payload_bytes)
    return found


def with_late(rows: Iterable[RequestRow], late: dict[Request, InVain]) -> Iterator[RequestRow]:
    """Rows whose waste includes what came late."""
    for row in rows:
        more = late.get((row.node, row.repeat, row.request_id))
        if more is None:
            yield row
        else:
            yield msgspec.structs.replace(
                row,
                wasted_cloud_ms=(row.wasted_cloud_ms or 0.0) + more.cloud_ms,
                wasted_down_bytes=(row.wasted_down_bytes or 0) + more.down_bytes,
            )
