"""What runs of a network on one node alone: its stem, and the uncompressed backbone in its faster exported form."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from testbed.runtime.artefact import ModelCard
from testbed.runtime.onnx import OnnxGraph

TRIALS = 7


def currents(stem: OnnxGraph, x: NDArray[np.uint8], timesteps: int) -> Iterator[NDArray[np.float32]]:
    """What the first neuron gets at each timestep, computed when it is asked for.

    A still image [1, C, H, W] goes through the stem once, event frames [1, T, C, H, W] one by one.
    """
    still = stem.run(x) if x.ndim == 4 else None
    for timestep in range(timesteps):
        yield stem.run(x[:, timestep]) if still is None else still


class Backbone:
    """Logits [T, K] of an input, step by step or layer by layer over all timesteps at once.

    Which form is faster depends on width and processor (layer by layer reads each weight once, step by step
    keeps activations in cache), so both are timed when it is loaded: a baseline must not be handicapped.
    """

    def __init__(self, artefact: Path, card: ModelCard, threads: int, provider: str) -> None:
        self.timesteps = card.timesteps
        self._stem = OnnxGraph(artefact / "full_stem.onnx", threads, provider)
        self._step = OnnxGraph(artefact / "full_step.onnx", threads, provider)
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
        state = self._step.initial_state()
        logits = []
        for current in currents(self._stem, x, self.timesteps):
            y, state = self._step.step(current, state)
            logits.append(y[0])
        return np.stack(logits)


def _median_ms(run: object, x: NDArray[np.uint8]) -> float:
    assert callable(run)
    run(x)
    times = []
    for _ in range(TRIALS):
        start_ns = time.monotonic_ns()
        run(x)
        times.append((time.monotonic_ns() - start_ns) / 1e6)
    return statistics.median(times)
