"""Cloud-only: the edge sends its raw input once, and the uncompressed backbone runs on the cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.link.kinds import FrameError, Kind
from testbed.modes.mode import CloudHalf, EdgeHalf
from testbed.record.mode import ModeFacts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from testbed.link.frames import Frame
    from testbed.modes.kit import Kit
    from testbed.modes.request import Request


class Sender:
    """The edge sends and waits."""

    def answer(self, request: Request) -> None:
        """One question, T answers."""
        request.ask(Kind.INPUT, request.x.tobytes(), answers=request.timesteps)


class Server:
    """The cloud runs the backbone, and keeps nothing of a request."""

    def __init__(self, kit: Kit) -> None:
        self._sample = kit.sample
        self._backbone = kit.backbone()

    def answer(self, peer: bytes, frame: Frame) -> NDArray[np.float32]:
        """Logits of all timesteps."""
        if frame.kind is not Kind.INPUT:
            raise FrameError("bad_kind", f"no {frame.kind.name} frame is expected in this cell")
        return self._backbone.run(self._sample(frame.payload))

    def end(self, peer: bytes, request: int) -> None:
        """Nothing is kept."""


class CloudOnly:
    """The mode whose edge computes nothing."""

    facts = ModeFacts(
        name="cloud_only",
        title="cloud-only",
        roles=("edge", "cloud"),
        sends="input",
        exits=False,
        edge_part=None,
        cloud_part="full",
    )

    def edge(self, kit: Kit) -> EdgeHalf:
        """Nothing is loaded."""
        return Sender()

    def cloud(self, kit: Kit) -> CloudHalf:
        """The backbone."""
        return Server(kit)
