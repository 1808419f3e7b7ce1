"""A link like another one, but for its rate, its round trip or its losses: what a sweep goes over."""

from __future__ import annotations

import msgspec

from devices.links.conditions import Direction, Link
from devices.links.points import constant


def vary(link: Link, mbit_s: float | None = None, rtt_ms: float | None = None, loss: float | None = None) -> Link:
    """The link with what is given in its place, in both directions; the name says it.

    A rate is constant. A round trip is propagation, half of it each way, without jitter.
    """
    said = [f"{value:g} {unit}" for value, unit in ((mbit_s, "Mbit/s"), (rtt_ms, "ms")) if value is not None]
    said += [] if loss is None else [f"loss {loss:g}"]

    def varied(direction: Direction) -> Direction:
        if mbit_s is not None:
            direction = msgspec.structs.replace(direction, capacity=constant(mbit_s))
        if rtt_ms is not None:
            direction = msgspec.structs.replace(direction, delay_ms=rtt_ms / 2, jitter_ms=0.0)
        return direction if loss is None else msgspec.structs.replace(direction, loss=loss)

    return msgspec.structs.replace(
        link,
        name=" ".join([link.name, *said]),
        up=varied(link.up),
        down=varied(link.down),
        source=f"{link.source} Varied: {', '.join(said)} in both directions." if said else link.source,
    )
