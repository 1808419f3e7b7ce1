"""What every mode offers: its description, and the two halves that answer a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from testbed.record.mode import ModeFacts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from testbed.link.frames import Frame
    from testbed.modes.kit import Kit
    from testbed.modes.request import Request


class EdgeHalf(Protocol):
    """What the edge does for a request."""

    def answer(self, request: Request) -> None:
        """Answer it: compute, ask the cloud, and leave the logits of each timestep in the request.

        Raises:
            LinkError: the cloud did not answer, or refused.
        """
        ...


class CloudHalf(Protocol):
    """What the cloud does for the frames of its edges."""

    def answer(self, peer: bytes, frame: Frame) -> NDArray[np.float32]:
        """Logits [T', K] for a frame of an edge.

        Raises:
            LinkError: this frame cannot be answered; the others can.
        """
        ...

    def end(self, peer: bytes, request: int) -> None:
        """Forget a request that is over early."""
        ...


class Mode(Protocol):
    """A way to answer requests. Its file imports nothing heavy; what is heavy is loaded through the kit."""

    facts: ModeFacts

    def edge(self, kit: Kit) -> EdgeHalf:
        """Load what the edge needs."""
        ...

    def cloud(self, kit: Kit) -> CloudHalf | None:
        """Load what the cloud needs; None where it takes no part."""
        ...
