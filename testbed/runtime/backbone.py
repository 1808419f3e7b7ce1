"""What runs of a network on one node: timestep by timestep, and the uncompressed backbone in its faster form."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from testbed.runtime.artefact import ModelCard
from testbed.runtime.onnx import OnnxGraph

TRIALS = 7


class Stepped:
    """A network that takes its input timestep by timestep: its stem, and the step graph of what follows."""

    def __init__(self, stem: OnnxGraph, step: OnnxGraph, timesteps: int) -> None:
        self._stem, self._step, self._timesteps = stem, step, timesteps

    def outputs(self, x: NDArray[np.uint8]) -> Iterator[NDArray[Any]]:
        """What comes out of each timestep, without its batch of one; computed when it is asked for."""
        state = self._step.initial_state()
        for current in self._currents(x):
            y, state = self._step.step(current, state)
            yield y[0]

    def _currents(self, x: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
        """What the first neuron gets at each timestep.

        A still image [1, C, H, W] goes through the stem once, event frames [1, T, C, H, W] one by one.
        """
        still = self._stem.run(x) if x.ndim == 4 else None
        for timestep in range(self._timesteps):
            yield self._stem.run(x[:, timestep]) if still is None else still


class Backbone:
    """Logits [T, K] of an input, step by step or layer by layer over all timesteps at once.

    Which form is faster depends on width and processor (layer by layer reads each weight once, step by step
    keeps activations in cache), so both are timed when it is loaded: a baseline must not be handicapped.
    """

    def __init__(self, artefact: Path, card: ModelCard, threads: int, provider: str) -> None:
        self.timesteps = card.timesteps
        stem, step = (OnnxGraph(artefact / f"full_{part}.onnx", threads, provider) for part in ("stem", "step"))
        self._steps = Stepped(stem, step, card.timesteps)
        self._whole = OnnxGraph(artefact / "full.onnx", threads, provider)
        blank = np.zeros((1, *card.sample_shape), dtype=np.uint8)
        self.trial_ms = {"whole": _median_ms(self.run_whole, blank), "steps": _median_ms(self.run_steps, blank)}
        self.form = min(self.trial_ms, key=lambda form: self.trial_ms[form])
        self.run = self.run_whole if self.form == "whole" else self.run_steps

    def run_whole(self, x: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Layer by layer, every layer over all timesteps."""
        return np.asarray(self._whole.run(x)).reshape(self.timesteps, -1)

    def run_steps(self, x: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Timestep by timestep."""
        return np.stack(list(self._steps.outputs(x)))


def _median_ms(run: Callable[[NDArray[np.uint8]], object], x: NDArray[np.uint8]) -> float:
    run(x)
    times = []
    for _ in range(TRIALS):
        start_ns = time.monotonic_ns()
        run(x)
        times.append((time.monotonic_ns() - start_ns) / 1e6)
    return statistics.median(times)
