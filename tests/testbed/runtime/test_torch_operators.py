"""Each operator in PyTorch gives what ONNX Runtime gives, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from testbed.errors import ModelError
from testbed.runtime.onnxfile import read_model
from testbed.runtime.torch.operators import _MAKERS, _PLAIN
from testbed.runtime.torch.program import Program

RNG = np.random.default_rng(0)


def grid(*shape: int) -> np.ndarray:
    """Numbers whose sums are exact."""
    return (np.round(RNG.normal(0, 1, shape) * 16) / 16).astype(np.float32)


def spikes(*shape: int) -> np.ndarray:
    return (RNG.random(shape) < 0.4).astype(np.uint8)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


X, Y = grid(2, 3, 4, 5), grid(2, 3, 4, 5)
W, B = grid(6, 3, 3, 3), grid(6)
BYTES = RNG.integers(0, 256, (2, 3, 4, 4)).astype(np.uint8)
STEP, ZERO = np.array(0.25, np.float32), np.array(128, np.uint8)
SCALES = np.array([0.5, 0.25, 0.125], np.float32)

# Name, attributes, the inputs that are computed, those that are constants.
CASES: list[tuple[str, dict[str, Any], list[np.ndarray], list[np.ndarray]]] = [
    *((kind, {}, [X, Y], []) for kind in ("Add", "Sub", "Mul", "Div", "Greater", "GreaterOrEqual", "Less")),
    *((kind, {}, [np.round(X), np.round(Y)], []) for kind in ("Equal", "LessOrEqual")),
    *((kind, {}, [X], []) for kind in ("Abs", "Neg", "Relu", "Identity")),
    *((kind, {}, [X > 0, Y > 0], []) for kind in ("And", "Or")),
    ("Not", {}, [X > 0], []),
    ("Round", {}, [np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.49], np.float32)], []),
    ("Where", {}, [X > 0, X, Y], []),
    ("Div", {}, [ints(7, -7, 9), ints(2, 2, -4)], []),
    ("Cast", {"to": TensorProto.UINT8}, [spikes(3, 3).astype(np.float32)], []),
    ("Cast", {"to": TensorProto.FLOAT}, [X > 0], []),
    ("Clip", {}, [X], [np.array(-0.5, np.float32), np.array(0.25, np.float32)]),
    ("Clip", {}, [X], [np.array(-0.5, np.float32)]),
    ("Reshape", {}, [X], [ints(2, -1, 5)]),
    ("Reshape", {}, [X], [ints(0, -1)]),
    ("Squeeze", {}, [X[:1]], [ints(0)]),
    ("Squeeze", {}, [X[:1, :, :1]], []),
    ("Unsqueeze", {}, [X], [ints(0, -1)]),
    ("Slice", {}, [X], [ints(1), ints(2**62), ints(2)]),
    ("Slice", {}, [X], [ints(0, -3), ints(2, -1), ints(0, -1), ints(1, 2)]),
    ("Gather", {"axis": 1}, [X], [ints(2, -1, 0)]),
    ("Gather", {"axis": 0}, [X], [np.array(1)]),
    ("Gather", {"axis": -1}, [X], [np.array(-2)]),
    ("Concat", {"axis": 1}, [X, Y], []),
    ("Concat", {"axis": -1}, [X], [Y]),
    ("Split", {"axis": 2, "num_outputs": 3}, [grid(2, 3, 7, 5)], []),
    ("Split", {"axis": 2}, [X], [ints(3, 1)]),
    ("Expand", {}, [X[:1]], [ints(2, 1, 1, 1)]),
    ("Transpose", {"perm": [0, 2, 3, 1]}, [X], []),
    ("Transpose", {}, [X], []),
    ("Flatten", {}, [X], []),
    ("Flatten", {"axis": 2}, [X], []),
    ("ConstantOfShape", {"value": helper.make_tensor("v", TensorProto.FLOAT, [1], [0.5])}, [], [ints(2, 3)]),
    ("ReduceMean", {"keepdims": 0}, [X[..., :4]], [ints(2, 3)]),
    ("ReduceMean", {"noop_with_empty_axes": 1}, [X], []),
    ("GlobalAveragePool", {}, [X[..., :4]], []),
    ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}, [X], []),
    ("AveragePool", {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1}, [X], []),
    ("MatMul", {}, [grid(2, 4, 5), grid(5, 3)], []),
    ("Gemm", {"transB": 1}, [grid(2, 8), grid(4, 8), grid(4)], []),
    ("Gemm", {"transA": 1, "alpha": 0.5, "beta": 2.0}, [grid(8, 2), grid(8, 4), grid(2, 4)], []),
    ("Conv", {"pads": [1, 1, 1, 1]}, [X], [W, B]),
    ("Conv", {"strides": [2, 2], "kernel_shape": [3, 3]}, [X], [W]),
    ("Conv", {"pads": [1, 0, 1, 2], "dilations": [1, 2]}, [X], [W, B]),
    ("Conv", {"group": 3}, [X], [grid(6, 1, 2, 2), B]),
    ("Conv", {"pads": [1, 1]}, [grid(1, 3, 9)], [grid(4, 3, 3)]),
    ("ConvTranspose", {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]}, [X], [grid(3, 4, 3, 3)]),
    ("ConvTranspose", {"strides": [2, 2]}, [X], [grid(3, 4, 2, 2), grid(4)]),
    ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}, [X], []),
    ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}, [spikes(1, 3, 4, 4)], []),
    ("MaxPool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1, "strides": [2, 2]}, [-abs(X)], []),
    ("MaxPool", {"kernel_shape": [3, 3], "pads": [0, 0, 1, 1]}, [-abs(X)], []),
    ("QuantizeLinear", {}, [grid(2, 3, 4, 4) * 30], [STEP, ZERO]),
    ("QuantizeLinear", {}, [abs(grid(2, 3, 4, 4)) * 90], [STEP]),
    ("QuantizeLinear", {"axis": 1}, [grid(2, 3, 4, 4) * 30], [SCALES, np.array([0, 3, -5], np.int8)]),
    ("DequantizeLinear", {}, [BYTES], [STEP, ZERO]),
    ("DequantizeLinear", {"axis": 1}, [BYTES], [SCALES, np.array([0, 3, 255], np.uint8)]),
    ("DequantizeLinear", {"axis": 0}, [np.array([[5, -128], [127, 0], [1, 1]], np.int8)], [SCALES]),
]


def model(kind: str, attributes: dict[str, Any], inputs: list, constants: list, outputs: list) -> bytes:
    """A graph of one node; an output that is not known yet is a name."""
    names = [f"x{place}" for place in range(len(inputs))]
    fixed = [numpy_helper.from_array(np.asarray(each), f"c{place}") for place, each in enumerate(constants)]
    made = [f"y{place}" for place in range(len(outputs))]
    node = helper.make_node(kind, [*names, *(each.name for each in fixed)], made, **attributes)
    graph = helper.make_graph([node], "one", list(map(value, names, inputs)), list(map(value, made, outputs)), fixed)
    opset = helper.make_opsetid("", 20)
    return bytes(helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString())


def value(name: str, array: np.ndarray | None) -> onnx.ValueInfoProto:
    if array is None:
        return onnx.ValueInfoProto(name=name)
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def ours(path: Path, inputs: list[np.ndarray]) -> list[np.ndarray]:
    program = Program(read_model(path), "cpu")
    with torch.inference_mode():
        return [each.numpy() for each in program.run([torch.from_numpy(x) for x in inputs])]


@pytest.mark.parametrize(("kind", "attributes", "inputs", "constants"), CASES)
def test_an_operator_gives_what_onnx_runtime_gives(tmp_path: Path, kind, attributes, inputs, constants):
    unknown = [None] * (attributes.get("num_outputs", 2) if kind == "Split" else 1)
    session = ort.InferenceSession(model(kind, attributes, inputs, constants, unknown))
    expected = session.run(None, {f"x{place}": x for place, x in enumerate(inputs)})
    path = tmp_path / "one.onnx"
    path.write_bytes(model(kind, attributes, inputs, constants, expected))
    for found, theirs in zip(ours(path, inputs), expected, strict=True):
        assert (found.dtype, found.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_array_equal(found, theirs)


def test_every_operator_has_a_case():
    assert {*_PLAIN, *_MAKERS} - {kind for kind, *_ in CASES} == {"Constant"}


def test_what_is_constant_is_computed_when_a_graph_is_loaded(tmp_path: Path):
    nodes = [
        helper.make_node("Constant", [], ["two"], value_float=2.0),
        helper.make_node("Add", ["two", "two"], ["four"]),
        helper.make_node("Mul", ["x", "four"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in "xy"]
    path = tmp_path / "constants.onnx"
    path.write_bytes(helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:])).SerializeToString())
    program = Program(read_model(path), "cpu")
    assert len(program._steps) == 1  # noqa: SLF001
    assert program.run([torch.ones(3)])[0].tolist() == [4.0, 4.0, 4.0]


@pytest.mark.parametrize(
    ("kind", "attributes", "inputs", "constants", "said"),
    [
        ("Reshape", {}, [X, ints(2, 60)], [], "Reshape with a x1 that is computed is not supported"),
        ("Slice", {}, [X], [ints(3), ints(0), ints(0), ints(-1)], "Slice that goes backwards"),
        ("Conv", {"auto_pad": "SAME_UPPER"}, [X], [W], "Conv with auto_pad SAME_UPPER is not supported"),
        ("Cast", {"to": TensorProto.BFLOAT16}, [X], [], "Cast to ONNX's type 16 is not supported"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path: Path, kind, attributes, inputs, constants, said):
    path = tmp_path / "one.onnx"
    path.write_bytes(model(kind, attributes, inputs, constants, [B]))
    with pytest.raises(ModelError, match=said):
        ours(path, inputs)
