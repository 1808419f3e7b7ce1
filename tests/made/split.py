"""A small split spiking network in whole numbers, with the real halves of co-inference and the real data plane.

Its layers are those of an exported one in all that matters here: state goes in, state comes out, and codes are zeros
and ones. All sums are of small whole numbers, so they are exact.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.tempo import RealTempo
from testbed.link.deadline import Deadline
from testbed.link.frames import Frame
from testbed.link.messages import CellConfig, ExitConfig
from testbed.link.server import DataServer
from testbed.link.uplink import Uplink
from testbed.modes import kit as modes
from testbed.modes.co_inference import Decoder, Encoder
from testbed.modes.mode import CloudHalf
from testbed.modes.request import Request
from testbed.worker.serving import Serving
from tests.made import records

T, CLASSES = 4, 3
CODE = [3, 2, 3]
CARD = records.model(
    timesteps=T,
    classes=[str(number) for number in range(CLASSES)],
    input_shape=[1, 4, 4],
    code_shape=CODE,
    feature_shape=[4, 4, 4],
    code_rates=[[0.2, 0.4, 0.3]] * T,
)
DEADLINE_MS = 20_000

_RNG = np.random.default_rng(3)
_STEM = _RNG.integers(-8, 24, (18, 16))
_CLOUD = _RNG.integers(-4, 6, (CLASSES, 18))
SAMPLES = _RNG.integers(0, 9, (6, 1, 1, 4, 4)).astype(np.uint8)
State = list[NDArray[Any]]


class Stem:
    """An image's input current."""

    def left_there(self, x: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(_STEM @ x.reshape(16), np.float32)


class EdgeStep:
    """Integrates the current, and spikes above a threshold that a spike is taken from."""

    def __init__(self, timesteps: int, kit: Kit) -> None:
        self._timesteps, self._kit = timesteps, kit

    def initial_state(self) -> State:
        return [np.zeros(18, np.float32)]

    def step(self, x: NDArray[np.float32], state: State) -> tuple[NDArray[np.uint8], State]:
        codes, potential = [], state[0]
        for _ in range(self._timesteps):
            potential = potential + x
            spikes = potential > 600
            codes.append(spikes.astype(np.uint8).reshape(CODE))
            potential = np.where(spikes, potential - 600, potential)
        self._kit.computed += self._timesteps
        self._kit.after(self._kit.computed)
        return np.stack(codes), [potential]


class CloudStep:
    """Logits are the weighted sum of all spikes so far, over eight."""

    def initial_state(self) -> State:
        return [np.zeros(CLASSES, np.float32)]

    def step(self, x: NDArray[np.uint8], state: State) -> tuple[NDArray[np.float32], State]:
        totals = state[0] + np.cumsum(x.reshape(-1, 18) @ _CLOUD.T, axis=0, dtype=np.float32)
        return totals / 8, [totals[-1]]


class Kit(modes.Kit):
    """What both halves load from; `computed` counts the timesteps of the edge, and `after` is told of each call."""

    def __init__(self, codec: str, chunks: list[int] | None = None) -> None:
        config = CellConfig(mode="co_inference", timeout_ms=DEADLINE_MS, codec=codec, chunks=chunks)
        super().__init__(Path(), CARD, config, records.profile(), RealTempo())
        self.computed = 0
        self.after: Callable[[int], object] = lambda computed: None

    def graph(self, file: str) -> Any:
        if file == "stem.onnx":
            return Stem()
        part, _, size = file.removesuffix(".onnx").partition("_x")
        return {"edge": EdgeStep(int(size or 1), self), "cloud": CloudStep()}[part]


class Lab:
    """A cloud that serves, and an edge's link to it."""

    def __init__(self, uplink: Uplink, port: int, events: list[tuple[str, dict[str, Any]]]) -> None:
        self.uplink, self.port, self.events = uplink, port, events
        self._number = 0

    def request(
        self,
        sample: int,
        window: int,
        rule: ExitConfig | None = None,
        chunks: list[int] | None = None,
        deadline_ms: int = DEADLINE_MS,
    ) -> Request:
        """The next request."""
        self._number += 1
        tempo, deadline = RealTempo(), Deadline(deadline_ms)
        return Request(self._number, SAMPLES[sample], CARD, rule, tempo, self.uplink, deadline, window, chunks)

    def answer(self, kit: Kit, sample: int, window: int, rule: ExitConfig | None = None) -> Request:
        """Have it answered, and leave the link as an edge does."""
        request = self.request(sample, window, rule, kit.config.chunks)
        Encoder(kit).answer(request)
        request.close()
        if not request.complete:
            self.uplink.end(request.number)
        return request

    def when_sent(self, messages: int, action: Callable[[], object]) -> None:
        """Do something once so many more messages are on their way."""
        send, left = self.uplink.send, itertools.count(messages - 1, -1)

        def counted(*given: Any, **named: Any) -> None:
            send(*given, **named)
            if next(left) == 0:
                action()

        self.uplink.send = counted  # type: ignore[method-assign]

    def when_waiting(self, action: Callable[[], object]) -> None:
        """Do something whenever an answer is waited for."""
        answer = self.uplink.answer

        def waiting(*given: Any) -> Frame:
            action()
            return answer(*given)

        self.uplink.answer = waiting  # type: ignore[method-assign]

    def gather(self) -> None:
        """Wait until the cloud has done all that was sent."""
        self.uplink.probe(0, 0, 0, Deadline(DEADLINE_MS))


@contextmanager
def lab(half: CloudHalf | None = None) -> Iterator[Lab]:
    """Both ends, on loopback."""
    events: list[tuple[str, dict[str, Any]]] = []
    with DataServer("127.0.0.1", 0, None, [], on_event=lambda *event: None) as server:
        half = half or Decoder(Kit("packed"))
        tempo = RealTempo()
        serving = Serving(server, half, tempo, lambda *event: events.append(event), lambda fault: None, 1 << 16)
        serving.start()
        uplink = Uplink(server.endpoint, None, None, Deadline(DEADLINE_MS))
        try:
            yield Lab(uplink, server.port, events)
        finally:
            uplink.close()
            serving.stop()
