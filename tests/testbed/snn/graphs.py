"""Step graphs as another tool would make them: written out node by node, without torch and SpikingJelly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper, save

SIDE, CODE, CLASSES = 8, (2, 4, 4), 10
RNG = np.random.default_rng(7)
KERNEL = RNG.integers(-2, 3, (2, 1, 2, 2)).astype(np.float32) / 4
WEIGHTS = RNG.integers(-8, 9, (32, CLASSES)).astype(np.float32) / 8


def tensor(name: str, shape: tuple[int | str, ...], kind: int = TensorProto.FLOAT) -> ValueInfoProto:
    """An input or an output."""
    return helper.make_tensor_value_info(name, kind, list(shape))


def model(
    nodes: list[NodeProto],
    inputs: list[ValueInfoProto],
    outputs: list[ValueInfoProto],
    opset: int = 17,
    **constants: NDArray[np.generic],
) -> ModelProto:
    """A graph with these constants."""
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    made = helper.make_model(
        helper.make_graph(nodes, "elsewhere", inputs, outputs, initializers),
        opset_imports=[helper.make_opsetid("", opset)],
    )
    made.ir_version = 9
    return made


def edge(
    *, threshold: float = 1.0, batch: int | str = 1, graded: bool = False, state: tuple[int, ...] = CODE
) -> ModelProto:
    """uint8 pixels to spikes of a convolution of stride 2 and neurons without leak, reset by subtraction.

    With `graded` the potentials leave it instead of spikes; `state` is the shape that a state is said to come out in.
    """
    node = helper.make_node
    nodes = [
        node("Cast", ["x"], ["pixels"], to=TensorProto.FLOAT),
        node("Mul", ["pixels", "scale"], ["bright"]),
        node("Conv", ["bright", "kernel"], ["current"], strides=[2, 2]),
        node("Add", ["current", "v"], ["charged"]),
        node("GreaterOrEqual", ["charged", "threshold"], ["fired"]),
        node("Cast", ["fired"], ["spikes"], to=TensorProto.FLOAT),
        node("Mul", ["spikes", "threshold"], ["spent"]),
        node("Sub", ["charged", "spent"], ["left"]),
        node("Reshape", ["left", "shape"], ["v_next"]),
        node("Identity", ["charged" if graded else "spikes"], ["code"]),
    ]
    return model(
        nodes,
        [tensor("x", (batch, 1, SIDE, SIDE), TensorProto.UINT8), tensor("v", (batch, *CODE))],
        [tensor("code", (batch, *CODE)), tensor("v_next", (batch, *state))],
        scale=np.float32(1 / 128),
        kernel=KERNEL,
        threshold=np.float32(threshold),
        shape=np.array([1, *state]),
    )


def cloud(*, code: tuple[int, ...] = CODE, classes: int = CLASSES, opset: int = 17) -> ModelProto:
    """Spikes, as bytes, to logits that add up over time."""
    node = helper.make_node
    nodes = [
        node("Cast", ["code"], ["spikes"], to=TensorProto.FLOAT),
        node("Flatten", ["spikes"], ["flat"]),
        node("MatMul", ["flat", "weights"], ["now"]),
        node("Add", ["now", "sum"], ["sum_next"]),
        node("Identity", ["sum_next"], ["logits"]),
    ]
    return model(
        nodes,
        [tensor("code", (1, *code), TensorProto.UINT8), tensor("sum", (1, classes))],
        [tensor("logits", (1, classes)), tensor("sum_next", (1, classes))],
        opset,
        weights=WEIGHTS[: int(np.prod(code)), :classes],
    )


def answers(image: NDArray[np.uint8], timesteps: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Codes [T, 2, 4, 4] and logits [T, K] for an image [1, 8, 8] or frames [T, 1, 8, 8], by hand."""
    v, total = np.zeros(CODE, np.float32), np.zeros(CLASSES, np.float32)
    codes, logits = [], []
    for t in range(timesteps):
        bright = (image if image.ndim == 3 else image[t])[0].astype(np.float32) / 128
        patches = bright.reshape(4, 2, 4, 2).transpose(0, 2, 1, 3)
        v = v + np.einsum("yxij,cij->cyx", patches, KERNEL[:, 0])
        spikes = (v >= 1).astype(np.uint8)
        v = v - spikes
        total = total + spikes.reshape(-1).astype(np.float32) @ WEIGHTS
        codes.append(spikes)
        logits.append(total)
    return np.stack(codes), np.stack(logits)


def write(folder: Path, **graphs: ModelProto) -> None:
    """`NAME.onnx` for each."""
    for name, graph in graphs.items():
        save(graph, folder / f"{name}.onnx")
