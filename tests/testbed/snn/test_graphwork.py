"""What a call of a step graph asks for, against counts made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from spikingjelly.activation_based import layer
from torch import nn

from devices.timemodel import Work
from testbed.errors import ModelError
from testbed.snn.export import export_graph
from testbed.snn.graphwork import graph_work
from testbed.snn.int8 import Int8Conv
from testbed.snn.int8graph import graph_module


class Toy(nn.Module):
    """A convolution, a neuron's state beside it, a transposed convolution and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(2, 6, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(6, 3, 2, stride=2)
        self.last = nn.Linear(3, 5)

    def forward(self, x: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        v = v + self.down(x.to(torch.float32))
        return self.last(self.up((v >= 1).to(v)).mean((2, 3))), v


def test_layers_and_bytes_of_a_graph_are_those_counted_by_hand(tmp_path: Path) -> None:
    inputs = (torch.zeros(1, 2, 8, 8, dtype=torch.uint8), torch.zeros(1, 6, 4, 4))
    export_graph(Toy(), inputs, tmp_path / "toy.onnx")
    down = 6 * 4 * 4 * (2 * 3 * 3)
    up = 6 * 4 * 4 * (3 * 2 * 2)
    last = 5 * 3
    weights = 4 * (6 * 2 * 9 + 6 + 6 * 3 * 4 + 3 + 5 * 3 + 5)
    through = 4 * (2 * 8 * 8 + 6 * 4 * 4) + 4 * (6 * 4 * 4 + 3 * 8 * 8) + 4 * (3 + 5)
    own = 2 * 8 * 8 + 2 * 4 * (6 * 4 * 4)  # the input in bytes, the state in and out
    assert graph_work(tmp_path / "toy.onnx") == Work(macs=down + up + last, bytes=weights + through + own, layers=3)


def quantized(path: Path, *, within: bool = False) -> Path:
    """A convolution of 2 channels 8x8 to 6 channels 6x6 in 8-bit integers."""
    scale = [helper.make_tensor(name, TensorProto.FLOAT, [], [1.0]) for name in ("sx", "sw", "sy")]
    zero = [helper.make_tensor(name, kind, [], [0]) for name, kind in (("zx", 2), ("zw", 3), ("zy", 2))]
    weight = helper.make_tensor("w", TensorProto.INT8, [6, 2, 3, 3], np.zeros(108, np.int8).tobytes(), raw=True)
    node = helper.make_node("QLinearConv", ["x", "sx", "zx", "w", "sw", "zw", "sy", "zy"], ["y"])
    x = helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 2, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.UINT8, [1, 6, 6, 6])
    if within:
        true = helper.make_tensor("true", TensorProto.BOOL, [], [True])
        branch = helper.make_graph([node], "branch", [], [y])
        node = helper.make_node("If", ["true"], ["y"], then_branch=branch, else_branch=branch)
        scale.append(true)
    graph = helper.make_graph([node], "graph", [x], [y], [*scale, *zero, weight])
    onnx.save(helper.make_model(graph), path)
    return path


def test_layers_in_integers_are_counted_apart_and_in_their_own_bytes(tmp_path: Path) -> None:
    work = graph_work(quantized(tmp_path / "int8.onnx"))
    assert (work.macs, work.int8_macs, work.layers) == (0, 216 * 18, 1)
    assert work.bytes == 128 + 108 + 216 + 3 * 4 + 3


def test_a_layer_of_the_int8_form_is_counted_as_one_of_integers(tmp_path: Path) -> None:
    conv = layer.Conv2d(2, 6, 3)
    module = graph_module(Int8Conv(conv))
    export_graph(module, (torch.zeros(1, 8, 8, 2, dtype=torch.uint8),), tmp_path / "int8.onnx")
    work = graph_work(tmp_path / "int8.onnx")
    assert (work.macs, work.int8_macs, work.layers) == (0, 216 * 18, 1)
    assert work.bytes == 128 + 108 + 4 * 6 + 216 + (128 + 4 * 216), "the layer's, and the graph's own input and output"


def test_a_graph_within_a_graph_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="If has a graph within"):
        graph_work(quantized(tmp_path / "if.onnx", within=True))
