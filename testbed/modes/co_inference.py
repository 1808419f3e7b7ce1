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
    from testbed.runtime.onnx import State


class Encoder:
    """The edge's half: layers up to the split and the bottleneck, whose code is sent."""

    def __init__(self, kit: Kit) -> None:
        self._half = kit.stepped("stem.onnx", "edge.onnx")
        self._encode = kit.codecs().encoder(kit.config.codec or "")

    def answer(self, request: Request) -> None:
        """Send a code at each timestep until one exits."""
        codes = self._half.outputs(request.x)
        for timestep in range(request.timesteps):
            with request.computing():
                code = next(codes)
            with request.encoding():
                codec, payload = self._encode(code, timestep)
            request.ask(Kind.STEP, payload, timestep=timestep, codec=codec, code=code)
            if request.confident:
                return


class Decoder:
    """The cloud's half, with one state for each request of each edge."""

    def __init__(self, kit: Kit) -> None:
        self._half = kit.graph("cloud.onnx")
        self._codecs = kit.codecs()
        self._sessions: Sessions[State] = Sessions(kit.card.timesteps)

    def answer(self, peer: bytes, frame: Frame) -> NDArray[np.float32]:
        """Logits [1, K] of one timestep."""
        if frame.kind is not Kind.STEP:
            raise FrameError("bad_kind", f"no {frame.kind.name} frame is expected in this cell")
        first = frame.timestep == 0
        before = self._half.initial_state() if first else self._sessions.state(peer, frame.request, frame.timestep)
        code = self._codecs.decode(frame.codec, frame.payload, frame.timestep)
        logits, state = self._half.step(code[None], before)
        self._sessions.keep(peer, frame.request, frame.timestep, state)
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
