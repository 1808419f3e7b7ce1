"""What an emulated edge's networks put out, computed before it is measured: its host then only waits.

An emulated edge is deterministic: what a network puts out depends on the sample alone, and how long that takes on the
model alone. So the outputs of the samples that will be measured can be computed in the warm-up. They are codes and
logits, and small. In their place the measured requests only owe their time. A host may then be slower than the board,
and whatever else it does is in no number but its lateness in waking up. A real edge computes when it is asked to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from devices.tempo import Tempo
from testbed.runtime.backbone import Run, Steps

LIMIT_BYTES = 256 << 20
"""Of all outputs that are kept. Samples that find no room are computed when they are measured."""

Outputs: TypeAlias = Callable[[NDArray[np.uint8], Sequence[int]], Iterator[NDArray[Any]]]


class Kept(NamedTuple):
    """An output, and what the edge owes for it."""

    y: NDArray[Any]
    owed_ns: int


class Ahead:
    """The memory of one edge, over all its networks.

    Attributes:
        samples: how many samples' outputs are kept.
        bytes: what they take.
    """

    def __init__(self, tempo: Tempo, limit_bytes: int = LIMIT_BYTES) -> None:
        self.samples = self.bytes = 0
        self._tempo, self._limit_bytes = tempo, limit_bytes
        self._networks: list[_Network] = []

    def steps(self, steps: Steps) -> Steps:
        """A network that runs so many timesteps at a time, remembered."""
        return self._remembered(steps.outputs)

    def run(self, run: Run) -> Run:
        """A network that runs at once, remembered."""
        network = self._remembered(lambda x, chunks: (run(one) for one in (x,)))
        return lambda x: next(network.outputs(x, network.chunks))

    def compute(self, inputs: Iterable[NDArray[np.uint8]], chunks: Sequence[int]) -> None:
        """Compute what all networks put out for these inputs in these chunks, as long as there is room."""
        for network in self._networks:
            network.chunks = tuple(chunks)
        for x in inputs if self._networks else ():
            kept = [network.computed(x, self._tempo) for network in self._networks]
            size = sum(one.y.nbytes for outputs in kept for one in outputs)
            if self.bytes + size > self._limit_bytes:
                return
            for network, outputs in zip(self._networks, kept, strict=True):
                network.kept[_digest(x)] = outputs
            self.samples, self.bytes = self.samples + 1, self.bytes + size

    def _remembered(self, outputs: Outputs) -> _Network:
        self._networks.append(_Network(outputs, self._tempo.owe))
        return self._networks[-1]


class _Network:
    """One network, and what it put out for each input in some chunks, by the input's digest."""

    def __init__(self, outputs: Outputs, owe: Callable[[int], None]) -> None:
        self.kept: dict[bytes, list[Kept]] = {}
        self.chunks: tuple[int, ...] = ()
        self._outputs, self._owe = outputs, owe

    def outputs(self, x: NDArray[np.uint8], chunks: Sequence[int]) -> Iterator[NDArray[Any]]:
        """What it puts out: what is kept, or else computed when it is asked for."""
        kept = self.kept.get(_digest(x)) if self.kept and tuple(chunks) == self.chunks else None
        if kept is None:
            yield from self._outputs(x, chunks)
            return
        for y, owed_ns in kept:
            self._owe(owed_ns)
            yield y

    def computed(self, x: NDArray[np.uint8], tempo: Tempo) -> list[Kept]:
        """What it puts out, with what the edge would owe for each."""
        outputs, kept = self._outputs(x, self.chunks), list[Kept]()
        found: list[NDArray[Any] | None] = []
        while True:
            owed_ns = tempo.trial(lambda: found.append(next(outputs, None)))
            output = found.pop()
            if output is None:
                return kept
            y = np.array(output)
            y.flags.writeable = False
            kept.append(Kept(y, owed_ns))


def _digest(x: NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(x).data, digest_size=16).digest()
