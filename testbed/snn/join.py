"""Step graphs put together: one behind another, and all timesteps of them in one graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from testbed.errors import ModelError


def for_one(model: ModelProto) -> ModelProto:
    """A graph for a batch of one, with the shapes of all its values."""
    fixed = ModelProto()
    fixed.CopyFrom(model)
    graph = fixed.graph
    constants = {each.name for each in graph.initializer}
    inputs = [each for each in graph.input if each.name not in constants]
    del graph.input[:], graph.value_info[:]
    graph.input.extend(inputs)
    for value in graph.input:
        first = value.type.tensor_type.shape.dim[:1]
        for size in first:
            if not size.HasField("dim_value"):
                size.dim_value = 1
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(fixed, data_prop=True)


def pixels_as_they_are(shape: Sequence[int], like: ModelProto) -> ModelProto:
    """A stem that leaves uint8 pixels as they are, of another graph's opset."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.UINT8, list(shape)) for name in "xy")
    node = helper.make_node("Identity", ["x"], ["y"])
    model = helper.make_model(helper.make_graph([node], "stem", [x], [y]), opset_imports=list(like.opset_import))
    model.ir_version = like.ir_version
    return model


def with_uint8_code(edge: ModelProto) -> ModelProto:
    """The edge's graph with its code as bytes, which is how codecs take it."""
    code = edge.graph.output[0]
    if code.type.tensor_type.elem_type == TensorProto.UINT8:
        return edge
    cast = ModelProto()
    cast.CopyFrom(edge)
    name = f"{code.name}/uint8"
    cast.graph.node.append(helper.make_node("Cast", [code.name], [name], to=TensorProto.UINT8))
    cast.graph.value_info.append(code)
    shape = [size.dim_value for size in code.type.tensor_type.shape.dim]
    cast.graph.output[0].CopyFrom(helper.make_tensor_value_info(name, TensorProto.UINT8, shape))
    return cast


def joined(first: ModelProto, second: ModelProto) -> ModelProto:
    """One step graph of two: the second takes what the first gives; states of the first, then of the second.

    Raises:
        ModelError: they are of different opsets.
    """
    one, two = _named("first/", first), _named("second/", second)
    y, x = one.graph.output[0], two.graph.input[0]
    bridge = helper.make_node("Cast", [y.name], [x.name], to=x.type.tensor_type.elem_type)
    return _model(
        [first, second],
        [*one.graph.node, bridge, *two.graph.node],
        [*one.graph.input, *two.graph.input[1:]],
        [two.graph.output[0], *one.graph.output[1:], *two.graph.output[1:]],
        [*one.graph.initializer, *two.graph.initializer],
    )


def unrolled(stem: ModelProto, step: ModelProto, timesteps: int, *, still: bool) -> ModelProto:
    """All timesteps in one call, from neurons at rest, to logits [T, K].

    The input is a still image [1, C, H, W], which passes the stem once, or event frames [1, T, C, H, W].

    Raises:
        ModelError: the graphs are of different opsets, or a state's shape is open.
    """
    opening, step = _named("stem/", stem), step
    x, y = opening.graph.input[0], opening.graph.output[0]
    frame = [size.dim_value for size in x.type.tensor_type.shape.dim]
    given = helper.make_tensor_value_info(
        "x", x.type.tensor_type.elem_type, frame if still else [1, timesteps, *frame[1:]]
    )
    constants = {each.name for each in (*opening.graph.initializer, *step.graph.initializer)}
    initializers = [*opening.graph.initializer, *step.graph.initializer]
    nodes: list[NodeProto] = []
    if still:
        nodes += [helper.make_node("Identity", ["x"], [x.name]), *opening.graph.node]
    states = []
    for value in step.graph.input[1:]:
        zero = np.zeros([size.dim_value for size in value.type.tensor_type.shape.dim], _dtype(value))
        initializers.append(numpy_helper.from_array(zero, f"rest/{value.name}"))
        states.append(f"rest/{value.name}")
    answers = []
    for t in range(timesteps):
        current = y.name
        if not still:
            initializers.append(numpy_helper.from_array(np.array(t), f"frame/{t}"))
            nodes.append(helper.make_node("Gather", ["x", f"frame/{t}"], [f"{x.name}@{t}"], axis=1))
            nodes += [_at(node, t, constants, {}) for node in opening.graph.node]
            current = f"{y.name}@{t}"
        given_by = dict(zip([each.name for each in step.graph.input], [current, *states], strict=True))
        nodes += [_at(node, t, constants, given_by) for node in step.graph.node]
        answer, *states = [given_by.get(each.name, f"{each.name}@{t}") for each in step.graph.output]
        answers.append(answer)
    nodes.append(helper.make_node("Concat", answers, ["y"], axis=0))
    last = step.graph.output[0].type.tensor_type
    logits = helper.make_tensor_value_info("y", last.elem_type, [timesteps, last.shape.dim[1].dim_value])
    return _model([stem, step], nodes, [given], [logits], initializers)


def _named(prefix: str, model: ModelProto) -> ModelProto:
    return onnx.compose.add_prefix(model, prefix)


def _at(node: NodeProto, t: int, constants: set[str], given: dict[str, str]) -> NodeProto:
    """The node at one timestep."""
    copied = NodeProto()
    copied.CopyFrom(node)
    copied.name = ""
    for names in (copied.input, copied.output):
        for place, name in enumerate(names):
            if name and name not in constants:
                names[place] = given.get(name, f"{name}@{t}")
    return copied


def _dtype(value: ValueInfoProto) -> np.dtype[np.generic]:
    return np.dtype(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))


def _model(
    parts: Sequence[ModelProto],
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    initializers: Sequence[TensorProto],
) -> ModelProto:
    opsets: dict[str, int] = {}
    for part in parts:
        for opset in part.opset_import:
            if opsets.setdefault(opset.domain, opset.version) != opset.version:
                raise ModelError(
                    f"graphs of opset {opsets[opset.domain]} and {opset.version} cannot be joined; export them "
                    "with the same"
                )
    graph = helper.make_graph(nodes, "joined", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(*each) for each in opsets.items()])
    model.ir_version = max(part.ir_version for part in parts)
    return onnx.shape_inference.infer_shapes(model)
