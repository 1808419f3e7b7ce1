"""A step graph to measure a node's runtimes with: as much work as a timestep of a spiking ResNet-18, and no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

WIDTH, SIDE, CLASSES = 64, 32, 10
"""Of the spiking ResNet-18 for images of CIFAR-10's size; batch 1."""

OPSET = 20
IR_VERSION = 9
_BLOCKS = ((1, 1), (1, 1), (2, 2), (2, 1), (4, 2), (4, 1), (8, 2), (8, 1))
"""Channels over the width, and stride, of each block (He et al. 2016, table 1)."""

_WEIGHT = 2.0**-12


def probe(width: int = WIDTH, side: int = SIDE) -> bytes:
    """The graph as a file's bytes: few of them, since the weights are all one number, which the runtime fills in.

    It goes from the first neuron's current [1, width, side, side] to logits [1, 10], with 17 potentials as state. How
    long a call takes does not depend on the numbers in it.
    """
    return _Probe(width, side).model()


class _Probe:
    def __init__(self, width: int, side: int) -> None:
        self._nodes: list[NodeProto] = []
        self._constants = [
            numpy_helper.from_array(np.array(value, np.float32), name)
            for name, value in (("zero", 0.0), ("one", 1.0), ("tau", 2.0))
        ]
        self._states: list[tuple[str, str, list[int]]] = []
        spikes, channels = self._neuron("x", [1, width, side, side]), width
        for factor, stride in _BLOCKS:
            inner, side = factor * width, side // stride
            shape = [1, inner, side, side]
            first = self._neuron(self._conv(spikes, channels, inner, 3, stride), shape)
            second = self._conv(first, inner, inner, 3, 1)
            short = spikes if (channels, stride) == (inner, 1) else self._conv(spikes, channels, inner, 1, stride)
            spikes, channels = self._neuron(self._node("Add", [second, short]), shape), inner
        mean = self._node("ReduceMean", [spikes, self._integers([2, 3])], keepdims=0)
        self._node("Gemm", [mean, self._filled([CLASSES, channels])], "y", transB=1)
        self._x = _tensor("x", self._states[0][2])

    def model(self) -> bytes:
        """All of it."""
        graph = helper.make_graph(
            self._nodes,
            "probe",
            [self._x, *(_tensor(before, shape) for before, _, shape in self._states)],
            [_tensor("y", [1, CLASSES]), *(_tensor(after, shape) for _, after, shape in self._states)],
            self._constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        return bytes(model.SerializeToString())

    def _node(self, kind: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        output = output or f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def _conv(self, x: str, channels: int, outputs: int, kernel: int, stride: int) -> str:
        weights, biases = self._filled([outputs, channels, kernel, kernel]), self._filled([outputs])
        pads = [kernel // 2] * 4
        return self._node("Conv", [x, weights, biases], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)

    def _neuron(self, current: str, shape: list[int]) -> str:
        """A LIF neuron in the nodes that an exported one has."""
        before, after = f"v{len(self._states)}", f"v{len(self._states)}_next"
        self._states.append((before, after, shape))
        leaked = self._node("Sub", [before, self._node("Div", [before, "tau"])])
        potential = self._node("Add", [leaked, current])
        over = self._node("GreaterOrEqual", [self._node("Sub", [potential, "one"]), "zero"])
        spikes = self._node("Cast", [over], to=TensorProto.FLOAT)
        self._node("Mul", [potential, self._node("Sub", ["one", spikes])], after)
        return spikes

    def _filled(self, shape: list[int]) -> str:
        value = helper.make_tensor("value", TensorProto.FLOAT, [1], [_WEIGHT])
        return self._node("ConstantOfShape", [self._integers(shape)], value=value)

    def _integers(self, values: list[int]) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name


def _tensor(name: str, shape: list[int]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
