"""A cell's link in lines of text: what was asked for, what was had, and what was done to it."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.texts import significant
from testbed.record.noderecord import PathMeasured
from testbed.record.reader import Cell


def lines(cell: Cell) -> Iterator[tuple[str, str]]:
    """Name and text of each line; none where a cell has no link."""
    manifest = cell.manifest
    asked = manifest.link.requested
    if asked is None:
        return
    kinds = {told.loaded.shaping for node in manifest.nodes.values() for told in node.repeats.values()} - {None}
    by = {"user": "a process beside the cloud", "tc": "the nodes' kernels"}
    yield (
        "link",
        f"{asked['name']}; imposed by {', '.join(by[kind] for kind in sorted(filter(None, kinds))) or 'nobody'}",
    )
    for node in manifest.role("edge"):
        for repeat, told in sorted(node.repeats.items(), key=lambda item: int(item[0])):
            for path in told.paths:
                yield "path had, of asked", f"{node.id}, repeat {repeat}, {path.when}: {_had(path)}"
    for repeat, records in sorted(manifest.faults.items(), key=lambda item: int(item[0])):
        for record in records:
            lasted = "not undone" if record.until_ns is None else f"{(record.until_ns - record.from_ns) / 1e9:.2f} s"
            yield "fault", f"repeat {repeat}: {record.fault}, {lasted}"


def _had(path: PathMeasured) -> str:
    parts = [f"round trip {significant(path.rtt_ms)} of {significant(path.rtt_ms_asked)} ms"]
    rates = (
        ("up", path.up_bytes_per_s, path.up_bytes_per_s_asked),
        ("down", path.down_bytes_per_s, path.down_bytes_per_s_asked),
    )
    for way, had, asked in rates:
        if had is not None and asked is not None:
            parts.append(f"{way} {significant(8e-6 * had)} of {significant(8e-6 * asked)} Mbit/s")
    if path.lossy and path.rates_unsure is None and len(parts) > 1:
        parts.append("rates not judged: a kernel's TCP gives way to losses")
    return ", ".join(parts)
