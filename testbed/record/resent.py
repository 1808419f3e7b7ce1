"""What the shaper in user space sent again, and the requests whose bytes that were.

The kernel of an edge counts its connection as far as the shaper. What the shaper loses and sends again, that kernel
never sees. So the shaper tells where in a connection's stream each packet lay that it sent again, and the edge where in
the stream each of its requests ended. Offsets in a stream are exact and need no common clock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from testbed.record.schema import RequestRow

STREAMS, RESENT = "streams", "resent"
"""Row logs of an edge and of a cloud, in `raw` alone, and only where a link with losses is shaped in user space."""


class StreamRow(msgspec.Struct, frozen=True, kw_only=True):
    """A request's part of a data connection, in bytes of payload that TCP carried since it was made.

    `connection` is the edge's end of it, HOST:PORT. An end that is None is that of the connection: another followed
    within the request, which has a row for each.
    """

    node: str
    repeat: int
    request_id: int
    connection: str
    up_from: int
    up_to: int | None
    down_from: int
    down_to: int | None


class ResentRow(msgspec.Struct, frozen=True, kw_only=True):
    """A packet that left once more: its first byte's offset in its stream, and its bytes with headers."""

    connection: str
    side: Literal["up", "down"]
    at: int
    wire_bytes: int


Request: TypeAlias = tuple[str, int, int]
"""Which one: its edge, its repeat and its id."""


class Again(NamedTuple):
    """Bytes on the wire that were sent again."""

    up_bytes: int
    down_bytes: int


def sent_again(streams: Iterable[StreamRow], resent: Iterable[ResentRow]) -> dict[Request, Again]:
    """What was sent again of each request's bytes, by request; those without losses are left out.

    A packet is that of its first byte. What lies in no request is left out: warming up, and checks of the path.
    """
    parts: dict[tuple[str, str], list[tuple[int, int | None, Request]]] = defaultdict(list)
    for row in streams:
        key = (row.node, row.repeat, row.request_id)
        parts[row.connection, "up"].append((row.up_from, row.up_to, key))
        parts[row.connection, "down"].append((row.down_from, row.down_to, key))
    for each in parts.values():
        each.sort(key=_start)
    found: dict[Request, Again] = {}
    for packet in resent:
        lain = parts.get((packet.connection, packet.side), [])
        before = bisect_right(lain, packet.at, key=_start)
        if not before:
            continue
        _, end, key = lain[before - 1]  # parts of one stream follow one another
        if end is None or packet.at < end:
            up, down = found.get(key, Again(0, 0))
            more = packet.wire_bytes
            found[key] = Again(up + more, down) if packet.side == "up" else Again(up, down + more)
    return found


def _start(part: tuple[int, int | None, Request]) -> int:
    return part[0]


def with_resent(rows: Iterable[RequestRow], again: dict[Request, Again]) -> Iterator[RequestRow]:
    """Rows whose wire bytes include what was sent again; where they are not known they stay so."""
    for row in rows:
        more = again.get((row.node, row.repeat, row.request_id))
        if more is None or row.wire_up_bytes is None or row.wire_down_bytes is None:
            yield row
        else:
            yield msgspec.structs.replace(
                row,
                wire_up_bytes=row.wire_up_bytes + more.up_bytes,
                wire_down_bytes=row.wire_down_bytes + more.down_bytes,
            )
