"""What runs of a network on one node: timestep by timestep, and the uncompressed backbone in its faster form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from testbed.runtime.graph import Graph, Left
from testbed.runtime.trial import Trial, median_ms

Run: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""From an input to the logits of all its timesteps [T, K]."""


class Steps(Protocol):
    """A network that runs so many timesteps at a time."""

    def outputs(self, x: NDArray[np.uint8], chunks: Sequence[int]) -> Iterator[NDArray[Any]]:
        """What comes out of so many timesteps at a time [n, …]; computed when it is asked for."""
        ...


class Stepped:
    """A network that takes its input timestep by timestep: its stem, and the step graphs of what follows.

    `graphs` has one for each number of timesteps that it may take at once.
    """

    def __init__(self, stem: Graph, graphs: Mapping[int, Graph]) -> None:
        self._stem, self._graphs = stem, graphs

    def outputs(self, x: NDArray[np.uint8], chunks: Sequence[int]) -> Iterator[NDArray[Any]]:
        """What comes out of so many timesteps at a time [n, …]; computed when it is asked for."""
        state = next(iter(self._graphs.values())).initial_state()
        for size, current in zip(chunks, self._currents(x, chunks), strict=True):
            y, state = self._graphs[size].step(current, state)
            yield y

    def _currents(self, x: NDArray[np.uint8], chunks: Sequence[int]) -> Iterator[Left | NDArray[np.float32]]:
        """What the first neuron gets in each chunk; of one timestep it is left on the device.

        A still image [1, C, H, W] goes through the stem once, event frames [1, T, C, H, W] one by one.
        """
        still = self._stem.left_there(x) if x.ndim == 4 else None
        at = 0
        for size in chunks:
            if still is not None:
                yield still
            elif size == 1:
                yield self._stem.left_there(x[:, at])
            else:
                yield np.concatenate([self._stem.run(x[:, timestep]) for timestep in range(at, at + size)])
            at += size


class Backbone:
    """Logits [T, K] of an input, step by step or layer by layer over all timesteps at once.

    Which form is faster depends on width and processor (layer by layer reads each weight once, step by step
    keeps activations in cache), so both are tried when it is loaded: a baseline must not be handicapped.

    Args:
        graph: gives a step graph of the artefact by its file's name.
        timesteps: T.
        trial: how long something takes on this node.
        stepwise: whether the artefact has graphs of single timesteps.
    """

    def __init__(
        self,
        graph: Callable[[str], Graph],
        timesteps: int,
        trial: Trial = median_ms,
        *,
        stepwise: bool = True,
    ) -> None:
        self.timesteps = timesteps
        self._whole = graph("full.onnx")
        forms: dict[str, Run] = {"whole": self.run_whole}
        if stepwise:
            self._steps = Stepped(graph("full_stem.onnx"), {1: graph("full_step.onnx")})
            forms["steps"] = self.run_steps
        blank = self._whole.blank()
        self.trial_ms = {name: trial(partial(run, blank)) for name, run in forms.items()}
        self.form = min(self.trial_ms, key=lambda form: self.trial_ms[form])
        self.run: Run = forms[self.form]

    def run_whole(self, x: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Layer by layer, every layer over all timesteps."""
        return np.asarray(self._whole.run(x)).reshape(self.timesteps, -1)

    def run_steps(self, x: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Timestep by timestep."""
        return np.concatenate(list(self._steps.outputs(x, (1,) * self.timesteps)))
