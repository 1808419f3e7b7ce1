"""Whether exported step graphs give the spikes of the network that they were made of, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import functional

from testbed.data.datasets import Samples
from testbed.errors import ModelError
from testbed.runtime.backbone import Stepped
from testbed.runtime.onnx import OnnxGraph
from testbed.snn.network import Network

COMPARED = 4
"""Samples that are run both ways."""

LOGITS_WITHIN = 1e-5
"""Share of the largest logit: behind the last neuron the order of summation may differ."""


def check_graphs(folder: Path, network: Network, full: Network, samples: Samples, timesteps: int) -> None:
    """Run a deployed network and its graphs on a few samples.

    The networks that ship are held to this by tests; one of a user's own is when it is exported.

    Raises:
        ModelError: a spike of a code or a logit differs.
    """

    def graph(name: str) -> OnnxGraph:
        return OnnxGraph(folder / name)

    inputs = samples.images[:COMPARED]
    with torch.inference_mode():
        codes = network.edge(network.currents(torch.from_numpy(inputs), timesteps))
        logits = network.cloud(codes).numpy()
        functional.reset_net(network)
        whole = full(torch.from_numpy(inputs), timesteps).numpy()
        functional.reset_net(full)
    edge, cloud = Stepped(graph("stem.onnx"), {1: graph("edge.onnx")}), graph("cloud.onnx")
    uncut, single = Stepped(graph("full_stem.onnx"), {1: graph("full_step.onnx")}), [1] * timesteps
    for number in range(len(inputs)):
        x, state = inputs[number : number + 1], cloud.initial_state()
        both = zip(edge.outputs(x, single), uncut.outputs(x, single), strict=True)
        for timestep, (code, answer) in enumerate(both):
            if not np.array_equal(code[0], codes[timestep, number].numpy()):
                raise ModelError(f"edge.onnx: {_differs(number, timestep)}: a spike of the code")
            y, state = cloud.step(code, state)
            _check_logits("cloud.onnx", y[0], logits[timestep, number], number, timestep)
            _check_logits("full_step.onnx", answer[0], whole[timestep, number], number, timestep)


def _check_logits(name: str, found: NDArray[Any], expected: NDArray[Any], number: int, timestep: int) -> None:
    if np.abs(found - expected).max() > LOGITS_WITHIN * max(1.0, np.abs(expected).max()):
        raise ModelError(f"{name}: {_differs(number, timestep)}: its logits")


def _differs(number: int, timestep: int) -> str:
    return f"differs from SpikingJelly on sample {number} at timestep {timestep + 1}"
