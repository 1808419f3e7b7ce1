"""Co-inference: the edge sends a code at each timestep, the cloud answers with logits, and the edge may stop early."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.link.kinds import FrameError, Kind
from testbed.modes.mode import CloudHalf, EdgeHalf
from testbed.modes.sessions import Sessions
from testbed.record.mode import ModeFacts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from testbed.link.frames import Frame
    from testbed.modes.kit import Kit
    from testbed.modes.request import Request
    from testbed.runtime.graph import State


class Encoder:
    """The edge's half: layers up to the split and the bottleneck, whose code is sent."""

    def __init__(self, kit: Kit) -> None:
        self._half, self._encode = kit.stepped("stem.onnx", "edge.onnx"), kit.encoder()

    def answer(self, request: Request) -> None:
        """Send a chunk's codes in one message, as far ahead of answers as the window reaches, until one exits."""
        outputs, timestep = self._half.outputs(request.x, request.chunks), 0
        for size in request.chunks:
            if not request.room(size):
                return
            with request.computing():
                codes = next(outputs)
            with request.encoding():
                coded = [self._encode(code, timestep + place) for place, code in enumerate(codes)]
            if not request.look():
                return
            request.send_codes(timestep, codes, coded)
            timestep += size
        request.settle()


class Decoder:
    """The cloud's half, with one state for each request of each edge."""

    def __init__(self, kit: Kit) -> None:
        self._graphs = kit.step_graphs("cloud.onnx")
        self._decode = kit.decoder()
        self._sessions: Sessions[State] = Sessions(kit.card.timesteps)

    def answer(self, peer: bytes, frame: Frame) -> NDArray[np.float32]:
        """Logits [n, K] of the frame's timesteps."""
        if frame.kind not in (Kind.STEP, Kind.STEPS):
            raise FrameError("bad_kind", f"no {frame.kind.name} frame is expected in this cell")
        codes = self._decode(frame)
        graph = self._graphs.get(len(codes))
        if graph is None:
            raise FrameError("bad_length", f"no graph takes {len(codes)} timesteps at once in this cell")
        first = frame.timestep == 0
        before = graph.initial_state() if first else self._sessions.state(peer, frame.request, frame.timestep)
        logits, state = graph.step(codes, before)
        self._sessions.keep(peer, frame.request, frame.timestep + len(codes) - 1, state)
        return logits

    def end(self, peer: bytes, request: int) -> None:
        """Forget its state."""
        self._sessions.end(peer, request)


class CoInference:
    """The mode under test."""

    facts = ModeFacts(
        name="co_inference",
        title="co-inference",
        roles=("edge", "cloud"),
        sends="code",
        exits=True,
        edge_part="edge",
        cloud_part="cloud",
    )

    def edge(self, kit: Kit) -> EdgeHalf:
        """The edge's layers and the encoder."""
        return Encoder(kit)

    def cloud(self, kit: Kit) -> CloudHalf:
        """The decoder and the cloud's layers."""
        return Decoder(kit)
