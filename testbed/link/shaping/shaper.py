"""What every way to shape the data plane offers, whichever it is."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

import msgspec

Shaping: TypeAlias = Literal["tc", "user"]
"""Who shapes: the kernel's queues on both nodes, or a process of its own in the path, beside the cloud's worker."""


class Disturbance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a fault does to a link on top of its conditions; the default is that it does nothing.

    `down`: nothing passes, either way, and what is sent waits. `rate` multiplies both capacities (0 < rate <= 1;
    above 0). `delay_ms` is added to each direction's delay.
    """

    down: bool = False
    rate: float = 1.0
    delay_ms: float = 0.0


class Shaper(Protocol):
    """Shapes the data plane of one repeat, from when it is made until it is closed.

    Attributes:
        shaping: which kind it is, for the record.
        endpoint: where edges connect instead of the cloud's own endpoint; None: there as ever.
    """

    shaping: Shaping
    endpoint: str | None

    def arm(self) -> None:
        """Begin the link's time anew: its moment 0 is when the next bytes come from an edge, or now.

        Until this is called for the first time the time runs from the beginning of the shaper.
        """
        ...

    def disturb(self, disturbance: Disturbance) -> None:
        """Replace the present disturbance, now.

        Raises:
            LinkError: the shaper is gone.
        """
        ...

    def check(self) -> None:
        """Make sure that it still shapes.

        Raises:
            LinkError: it ended, with what it said.
        """
        ...

    def close(self) -> None:
        """Shape no more, and leave nothing behind; more than once does no harm."""
        ...
