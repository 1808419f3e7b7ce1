"""What PyTorch makes of an artefact's graphs, beside ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch

from devices.profile import Runtime
from testbed.runtime.backbone import Backbone, Stepped
from testbed.runtime.graph import Graph
from testbed.runtime.trial import opened
from testbed.snn.chunks import chunk_graph, read_graph

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no GPU here")),
]
ONNX = Runtime(provider="cpu")


def check_pytorch(folder: Path, inputs: Iterable[np.ndarray], timesteps: int, device: str, scratch: Path) -> None:
    """Both halves, the cloud's in chunks, and the uncut backbone in both forms: every bit of every output."""
    chunk = scratch / "cloud_rest.onnx"
    graph = chunk_graph(read_graph(folder / "cloud.onnx"), timesteps - 1, still=False)
    chunk.write_bytes(graph.SerializeToString())
    with ExitStack() as undone:
        undone.callback(torch.set_num_threads, torch.get_num_threads())
        ours, theirs = (_Side(folder, each, chunk) for each in (Runtime(provider="torch", device=device), ONNX))
        for x in inputs:
            codes = theirs.codes(x, timesteps)
            np.testing.assert_array_equal(ours.codes(x, timesteps), codes)
            assert 0.002 < codes.mean() < 0.998, "the code carries nothing"
            for name in ("logits", "logits_of_chunks"):
                np.testing.assert_array_equal(getattr(ours, name)(codes), theirs.logits(codes))
            np.testing.assert_array_equal(ours.backbone.run_steps(x), theirs.backbone.run_steps(x))
            np.testing.assert_array_equal(ours.backbone.run_whole(x), theirs.backbone.run_whole(x))


class _Side:
    """An artefact in one runtime."""

    def __init__(self, folder: Path, runtime: Runtime, chunk: Path) -> None:
        def graph(file: str) -> Graph:
            return opened(folder / file, runtime)

        self._half = Stepped(graph("stem.onnx"), {1: graph("edge.onnx")})
        self._cloud, self._rest = graph("cloud.onnx"), opened(chunk, runtime)
        self.backbone = Backbone(graph, self._rest.blank().shape[0] + 1)

    def codes(self, x: np.ndarray, timesteps: int) -> np.ndarray:
        return np.concatenate(list(self._half.outputs(x, [1] * timesteps)))

    def logits(self, codes: np.ndarray) -> np.ndarray:
        state, found = self._cloud.initial_state(), []
        for code in codes:
            y, state = self._cloud.step(code[None], state)
            found.append(y)
        return np.concatenate(found)

    def logits_of_chunks(self, codes: np.ndarray) -> np.ndarray:
        """One timestep, and from its state the rest in one call."""
        first, state = self._cloud.step(codes[:1], self._cloud.initial_state())
        return np.concatenate([first, self._rest.step(codes[1:], state)[0]])
