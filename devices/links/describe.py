"""What a manifest says of a link: all that shaped traffic, as few figures and a hash."""

from __future__ import annotations

from typing import Any

from devices.links.conditions import Capacity, Direction, Link
from devices.links.offered import windows


def describe(link: Link) -> dict[str, Any]:
    """A link without its points; `sha256` tells two of them apart.

    For each direction `mbit_s` has the mean over a pass, and the least and the most of any window of 1 s; None is as
    fast as the path beneath. `period_s` is how long a pass of a trace takes, None for a constant rate.
    """
    return {
        "name": link.name,
        "technology": link.technology,
        "up": _direction(link.up),
        "down": _direction(link.down),
        "mtu": link.mtu,
        "seed": link.seed,
        "source": link.source,
        "licence": link.licence,
        "sha256": link.sha256,
    }


def _direction(direction: Direction) -> dict[str, Any]:
    capacity = direction.capacity
    return {
        "mbit_s": None if capacity is None else _rates(capacity),
        "delay_ms": direction.delay_ms,
        "jitter_ms": direction.jitter_ms,
        "loss": direction.loss,
        "queue_ms": direction.queue_ms,
        "points": 0 if capacity is None else len(capacity.ms),
        "period_s": None if capacity is None or len(capacity.ms) == 2 else capacity.ms[-1] / 1000,
    }


def _rates(capacity: Capacity) -> dict[str, float]:
    each = windows(capacity) * 8e-6
    mean = capacity.mean_bytes_per_s * 8e-6
    return {name: round(float(rate), 6) for name, rate in (("mean", mean), ("min", each.min()), ("max", each.max()))}
