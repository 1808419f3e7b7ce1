"""Gates on the nodes' clocks."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.link.clock import MAX_SKEW_PPM
from testbed.record.reader import Cell

MAX_WALL_STEP_MS = 1.0
"""Change of a node's wall clock against its monotonic one. The reading is good to microseconds, and slewing moves both
clocks alike."""


def skewed(cell: Cell) -> Iterator[str]:
    """A monotonic clock ran too far off the orchestrator's."""
    for line in cell.clock_lines:
        if abs(line.skew_ppm) - line.skew_bound_ppm > MAX_SKEW_PPM:
            yield (
                f"{line.node}, repeat {line.repeat}: its monotonic clock ran {line.skew_ppm:.0f} ± "
                f"{line.skew_bound_ppm:.0f} ppm off the orchestrator's (limit {MAX_SKEW_PPM:.0f} ppm)"
            )


def wall_clock_set(cell: Cell) -> Iterator[str]:
    """Somebody set a wall clock during a repeat."""
    walls: dict[tuple[str, int], list[int]] = {}
    for estimate in cell.clock:
        if estimate.wall_offset_ns is not None:
            walls.setdefault((estimate.node, estimate.repeat), []).append(estimate.wall_offset_ns)
    for (node, repeat), wall in walls.items():
        step_ms = (max(wall) - min(wall)) / 1e6
        if step_ms > MAX_WALL_STEP_MS:
            yield f"{node}, repeat {repeat}: its wall clock was set by {step_ms:.1f} ms (limit {MAX_WALL_STEP_MS:g} ms)"
