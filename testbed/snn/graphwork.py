"""What a call of an exported step graph asks of a processor, counted in the ONNX file: an emulated node needs it.

Counted are layers with weights: convolutions, transposed convolutions and products of matrices, in float or in
integers. They are dense: where a spike is 0, a zero is multiplied. Bytes are those of each such layer's weights, inputs
and outputs, of the graph's own input and output, and of its states, each once, in their real types. Whatever is done
element by element (neurons, shortcuts, scaling) is taken to be fused into the layer before or after it. So is
quantisation: a layer between DequantizeLinear and QuantizeLinear has integers, as runtimes compute it.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx

from devices.timemodel import Work
from testbed.errors import ModelError


class _Kind(NamedTuple):
    """Where a layer of some type has its input and its weights, and whether it computes in 8-bit integers."""

    x: int
    weight: int
    int8: bool


_OPEN = -1
_LAYERS = {
    "Conv": _Kind(0, 1, int8=False),
    "ConvTranspose": _Kind(0, 1, int8=False),
    "Gemm": _Kind(0, 1, int8=False),
    "MatMul": _Kind(0, 1, int8=False),
    "ConvInteger": _Kind(0, 1, int8=True),
    "MatMulInteger": _Kind(0, 1, int8=True),
    "QLinearConv": _Kind(0, 3, int8=True),
    "QLinearMatMul": _Kind(0, 3, int8=True),
}


def graph_works(folder: Path) -> dict[str, Work]:
    """What each step graph of an artefact asks for, by the name of its file.

    Raises:
        ModelError: a graph holds something that cannot be counted.
    """
    return {path.name: graph_work(path) for path in sorted(folder.glob("*.onnx"))}


def graph_work(path: Path) -> Work:
    """What one call of a step graph asks for.

    Raises:
        ModelError: a shape in it is not known, or it has a graph within.
    """
    graph = onnx.load(path).graph
    tensors = {value.name: _Tensor.of(value) for value in (*graph.input, *graph.output, *graph.value_info)}
    tensors |= {value.name: _Tensor(list(value.dims), _item_bytes(value.data_type)) for value in graph.initializer}

    def tensor(name: str) -> _Tensor:
        found = tensors.get(name)
        if found is None or _OPEN in found.shape:
            raise ModelError(f"{path}: the shape of {name} is not known, so its work cannot be counted")
        return found

    integers = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    rounded = {node.input[0]: node.output[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    macs = {False: 0, True: 0}
    layers = layer_bytes = 0
    touched: set[str] = set()
    for node in graph.node:
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise ModelError(f"{path}: {node.op_type} has a graph within, whose work cannot be counted")
        kind = _LAYERS.get(node.op_type)
        if kind is None:
            continue
        weight = integers.get(node.input[kind.weight], node.input[kind.weight])
        in_integers = kind.int8 or tensor(weight).item_bytes == 1
        names = [integers.get(name, name) for name in node.input if name]
        names += [rounded.get(name, name) for name in node.output if name]
        macs[in_integers] += _macs(
            node, *(tensor(name) for name in (node.input[kind.x], node.input[kind.weight], node.output[0]))
        )
        layer_bytes += sum(tensor(name).bytes for name in names)
        layers += 1
        touched.update(names)
    own = [value.name for value in (*graph.input, *graph.output) if value.name not in touched]
    own_bytes = sum(tensor(name).bytes for name in own)
    return Work(macs=macs[False], int8_macs=macs[True], bytes=layer_bytes + own_bytes, layers=layers)


class _Tensor(NamedTuple):
    """Shape (`_OPEN` where it is not fixed) and bytes of an element."""

    shape: list[int]
    item_bytes: int

    @classmethod
    def of(cls, value: Any) -> _Tensor:
        """That of an input, an output or a value within."""
        kind = value.type.tensor_type
        shape = [size.dim_value if size.HasField("dim_value") else _OPEN for size in kind.shape.dim]
        return cls(shape, _item_bytes(kind.elem_type))

    @property
    def size(self) -> int:
        """Elements."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """What they take in memory."""
        return self.size * self.item_bytes


def _macs(node: Any, x: _Tensor, weight: _Tensor, y: _Tensor) -> int:
    """One for each output and weight that it uses; of a transposed convolution for each input and weight."""
    if node.op_type == "ConvTranspose":
        return x.size * weight.size // weight.shape[0]
    if node.op_type in ("Conv", "ConvInteger", "QLinearConv"):
        return y.size * weight.size // weight.shape[0]
    if node.op_type == "Gemm":
        return y.size * weight.size // y.shape[-1]
    return y.size * x.shape[-1]


def _item_bytes(data_type: int) -> int:
    return int(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(data_type)).itemsize)
