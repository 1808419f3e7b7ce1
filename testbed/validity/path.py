"""Gates on the link: whether the path that was had is the one that was asked for."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.record.noderecord import PathMeasured
from testbed.record.reader import Cell

MAX_RTT_OFF_MS = 2.0
"""Beside what an acknowledgement takes on the link, which is more than this on the slowest ones."""
MAX_RATE_OFF = 0.10
"""Of a link's rate; with losses, beside what those may come to (`PathMeasured.rates_unsure`). That of a lossy link that
a kernel imposes is not judged: how much its TCP gives way to losses depends on its congestion control."""


def off_target(cell: Cell) -> Iterator[str]:
    """The path between edge and cloud was not what the link's conditions come to."""
    link = cell.manifest.config.link
    for node in cell.manifest.nodes.values() if link is not None else ():
        for repeat, told in sorted(node.repeats.items(), key=lambda item: int(item[0])):
            if node.role == "edge" and {path.when for path in told.paths} != {"before", "after"}:
                yield f"{node.id}, repeat {repeat}: the link was not checked before and after"
            for path in told.paths:
                for what in _off(path):
                    yield f"{node.id}, repeat {repeat}, {path.when} measuring: {what}"


def _off(path: PathMeasured) -> Iterator[str]:
    limit_ms = MAX_RTT_OFF_MS + path.rtt_ms_unsure
    if abs(path.rtt_ms - path.rtt_ms_asked) > limit_ms:
        yield (
            f"the path's round trip is {path.rtt_ms:.1f} ms, the link asks for {path.rtt_ms_asked:.1f} ms "
            f"(limit ± {limit_ms:.2g} ms)"
        )
    rates = (
        ("up", path.up_bytes_per_s, path.up_bytes_per_s_asked),
        ("down", path.down_bytes_per_s, path.down_bytes_per_s_asked),
    )
    limit = MAX_RATE_OFF + (path.rates_unsure or 0.0)
    for way, measured, asked in rates if not path.lossy or path.rates_unsure is not None else ():
        if measured is not None and asked is not None and abs(measured / asked - 1) > limit:
            yield (
                f"{way}, the path carries {8e-6 * measured:.3g} Mbit/s, the link asks for {8e-6 * asked:.3g} Mbit/s "
                f"(limit ± {limit:.0%})"
            )
