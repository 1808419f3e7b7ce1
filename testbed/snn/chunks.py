"""Step graphs that take several timesteps in one call, made of those that take one: `(x, *state) → (y_1…y_n, *state')`.

What needs the state of the timestep before (the recurrence of a neuron) is written out n times. Everything else runs
once, on all timesteps as one batch, so that a layer's weights are read once. So does an export of the whole backbone,
but this one leaves state outside, is made in a moment, and of any step graph, whatever its arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from testbed.errors import ModelError

BY_ITSELF = frozenset({"Gemm", "MatMul"})
"""Run for each timestep: with another number of rows their sums are taken in another order, and logits would differ."""

TRIED = 3
"""Chunks in a row that are compared with single timesteps before a graph is believed."""


def chunk_graph(step: ModelProto, timesteps: int, *, still: bool) -> ModelProto:
    """A step graph that takes so many timesteps: x [n, …] to y [n, …].

    Args:
        step: the graph of one timestep, with static shapes and a batch of one.
        timesteps: n.
        still: whether x is the same at every timestep, so that it is given once: [1, …].
    """
    return _Unrolled(step, timesteps, still=still).model()


def check(step: ModelProto, chunk: ModelProto, timesteps: int, *, still: bool, what: str) -> None:
    """Run both on the same random inputs.

    Raises:
        ModelError: an output or a state differs in a bit.
    """
    one, several = (ort.InferenceSession(model.SerializeToString(), _options()) for model in (step, chunk))
    rng = np.random.default_rng(0)
    x, *states = one.get_inputs()
    own = [np.zeros(state.shape, _TYPES[state.type]) for state in states]
    theirs = list(own)
    for _ in range(TRIED):
        given = np.concatenate([_random(x, rng)] * timesteps if still else [_random(x, rng) for _ in range(timesteps)])
        outputs = []
        for t in range(timesteps):
            y, *own = one.run(None, _fed(one, [given[t : t + 1], *own]))
            outputs.append(y)
        y, *theirs = several.run(None, _fed(several, [given[:1] if still else given, *theirs]))
        pairs = zip([np.concatenate(outputs), *own], [y, *theirs], strict=True)
        if not all(a.tobytes() == b.tobytes() for a, b in pairs):
            raise ModelError(f"{what}: {timesteps} timesteps in one call do not give what {timesteps} calls give")


_TYPES = {
    "tensor(float)": np.float32,
    "tensor(int32)": np.int32,
    "tensor(int16)": np.int16,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
}


def _random(x: Any, rng: np.random.Generator) -> NDArray[Any]:
    values = rng.normal(0.5, 1.0, x.shape) if x.type == "tensor(float)" else rng.random(x.shape) < 0.3
    return np.asarray(values, _TYPES[x.type])


def _fed(session: ort.InferenceSession, values: Sequence[object]) -> dict[str, object]:
    return {given.name: value for given, value in zip(session.get_inputs(), values, strict=True)}


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return options


class _Unrolled:
    """Writes a step graph out; names of its values lead to what they are at each timestep.

    A value is `still` (the same at every timestep, with a batch of one), in `stacked` (all timesteps, one after the
    other in the batch), or in `pieces` (a name for each timestep). From one of the last two the other is made.
    """

    def __init__(self, step: ModelProto, timesteps: int, *, still: bool) -> None:
        self._step, self._graph, self._n = step, step.graph, timesteps
        self._nodes: list[NodeProto] = []
        self._initializers = {each.name: each for each in self._graph.initializer}
        self._still = {*self._initializers, ""}
        self._pieces: dict[str, list[str]] = {}
        self._stacked: dict[str, str] = {}
        self._x, *self._v = [each.name for each in self._graph.input]
        self._y, *self._next = [each.name for each in self._graph.output]
        if still:
            self._still.add(self._x)
        else:
            self._stacked[self._x] = self._x
        before = dict(zip(self._v, self._next, strict=True))
        for v, after in before.items():
            self._pieces[v] = [v, *(_at(after, t) for t in range(timesteps - 1))]
        self._by_itself = _recurrent(self._graph.node, before)

    def model(self) -> ModelProto:
        """The whole graph."""
        for place, node in enumerate(self._graph.node):
            alone = place in self._by_itself or node.op_type in BY_ITSELF
            if all(name in self._still for name in node.input):
                self._nodes.append(_copy(node, list(node.input), list(node.output)))
                self._still.update(node.output)
            elif alone:
                for output in node.output:
                    self._pieces[output] = [_at(output, t) for t in range(self._n)]
                for t in range(self._n):
                    inputs = [self._piece(name, t) for name in node.input]
                    self._nodes.append(_copy(node, inputs, [_at(name, t) for name in node.output]))
            else:
                inputs = [name if name in self._still else self._batch(name) for name in node.input]
                if node.op_type == "Reshape":
                    inputs[1] = self._reshaped(inputs[1])
                self._nodes.append(_copy(node, inputs, [_all(name) for name in node.output]))
                self._stacked |= {name: _all(name) for name in node.output}
        self._nodes.append(helper.make_node("Identity", [self._batch(self._y)], [self._y]))
        for after in self._next:
            self._nodes.append(helper.make_node("Identity", [self._piece(after, self._n - 1)], [after]))
        return self._put_together()

    def _piece(self, name: str, t: int) -> str:
        """The value at one timestep."""
        if name in self._still:
            return name
        if name not in self._pieces:
            self._pieces[name] = [_at(name, t) for t in range(self._n)]
            split = helper.make_node("Split", [self._stacked[name]], self._pieces[name], axis=0, num_outputs=self._n)
            self._nodes.append(split)
        return self._pieces[name][t]

    def _batch(self, name: str) -> str:
        """The value at all timesteps."""
        if name not in self._stacked:
            each = [name] * self._n if name in self._still else self._pieces[name]
            self._stacked[name] = _all(name)
            self._nodes.append(helper.make_node("Concat", each, [_all(name)], axis=0))
        return self._stacked[name]

    def _reshaped(self, name: str) -> str:
        """A shape for all timesteps, where the graph has one for one of them."""
        shape = numpy_helper.to_array(self._initializers[name]).copy()
        if shape[0] != 1:
            return name
        shape[0] = self._n
        self._initializers[_all(name)] = numpy_helper.from_array(shape, _all(name))
        return _all(name)

    def _put_together(self) -> ModelProto:
        ordered = _sorted(self._nodes, {*self._initializers, "", self._x, *self._v})
        used = {name for node in ordered for name in node.input}
        graph = helper.make_graph(
            ordered,
            self._graph.name,
            list(self._graph.input),
            list(self._graph.output),
            [each for name, each in self._initializers.items() if name in used],
        )
        if self._x not in self._still:
            graph.input[0].type.tensor_type.shape.dim[0].dim_value = self._n
        graph.output[0].type.tensor_type.shape.dim[0].dim_value = self._n
        model = helper.make_model(graph, opset_imports=list(self._step.opset_import))
        model.ir_version = self._step.ir_version
        return onnx.shape_inference.infer_shapes(model)


def _recurrent(nodes: Iterable[NodeProto], before: dict[str, str]) -> set[int]:
    """The places of the nodes on a way from a state to what it becomes."""
    ordered = list(enumerate(nodes))
    found: set[int] = set()
    for v, after in before.items():
        reached, behind = {v}, []
        for place, node in ordered:
            if reached.intersection(node.input):
                reached.update(node.output)
                behind.append((place, node))
        needed = {after}
        for place, node in reversed(behind):
            if needed.intersection(node.output):
                needed.update(node.input)
                found.add(place)
    return found


def _sorted(nodes: Sequence[NodeProto], known: set[str]) -> list[NodeProto]:
    """The nodes in an order in which each has its inputs."""
    ordered, left = list[NodeProto](), list(nodes)
    while left:
        ready = [node for node in left if known.issuperset(node.input)]
        if not ready:
            raise ModelError(f"a graph of which {left[0].op_type} {left[0].name} waits for itself")
        for node in ready:
            known.update(node.output)
        ordered += ready
        left = [node for node in left if not known.issuperset(node.output)]
    return ordered


def _copy(node: NodeProto, inputs: Sequence[str], outputs: Sequence[str]) -> NodeProto:
    copied = NodeProto()
    copied.CopyFrom(node)
    del copied.input[:], copied.output[:]
    copied.input.extend(inputs)
    copied.output.extend(outputs)
    copied.name = ""
    return copied


def _at(name: str, t: int) -> str:
    return f"{name}@{t}"


def _all(name: str) -> str:
    return f"{name}@all"


def read_graph(path: Path) -> ModelProto:
    """A graph of an artefact.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        return onnx.load(str(path))
    except Exception as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error
