"""Gates on the hosts of emulated nodes."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.record.reader import Cell

MAX_OVERRUNS = 0.01
"""Share of an emulated node's stages that its host may have ready later than modelled: latencies follow the host then.
A percentile below the 99th hardly does. A single one says nothing, however few stages there are."""


def too_slow(cell: Cell) -> Iterator[str]:
    """The host of an emulated node needed longer than the board that it stands for."""
    for node in cell.manifest.nodes.values():
        kept = [said.finished.timekeeping for said in node.repeats.values()]
        told = [each for each in kept if each is not None]
        stages, overruns = (sum(getattr(each, key) for each in told) for key in ("stages", "overruns"))
        if overruns > max(1, MAX_OVERRUNS * stages):
            worst_ms = max(each.worst_overrun_ms for each in told)
            yield (
                f"{node.id}: host too slow for this board: {overruns / stages:.1%} of the {node.role}'s stages took "
                f"longer than modelled, the worst by {worst_ms:.3g} ms (limit {MAX_OVERRUNS:.0%})"
            )
