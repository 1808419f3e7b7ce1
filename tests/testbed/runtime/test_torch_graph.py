"""PyTorch runs step graphs as ONNX Runtime does: the same contract, and the same bits, on a CPU and on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from testbed.errors import ModelError
from testbed.probe import probe
from testbed.runtime.onnx import OnnxGraph
from testbed.runtime.torch.graph import TorchGraph
from tests.made.runtimes import DEVICES


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """A graph sets them for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def save(path: Path, nodes: list[onnx.NodeProto], inputs: dict[str, list], outputs: dict[str, list]) -> Path:
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def neuron(tmp_path: Path) -> Path:
    """Two states: `sum` adds x up, `last` is x itself (so an output that is an input). y = 2 · sum."""
    nodes = [
        helper.make_node("Add", ["x", "sum"], ["sum_next"]),
        helper.make_node("Add", ["sum_next", "sum_next"], ["y"]),
        helper.make_node("Identity", ["x"], ["last_next"]),
    ]
    inputs = {"x": ["batch", 3], "sum": ["batch", 3], "last": [1, 3]}
    outputs = {"y": ["batch", 3], "sum_next": ["batch", 3], "last_next": [1, 3]}
    return save(tmp_path / "neuron.onnx", nodes, inputs, outputs)


@pytest.fixture
def doubler(tmp_path: Path) -> Path:
    return save(tmp_path / "toy.onnx", [helper.make_node("Add", ["x", "x"], ["y"])], {"x": [1, 3]}, {"y": [1, 3]})


def row(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


@pytest.mark.parametrize("device", DEVICES)
def test_state_carries_from_timestep_to_timestep(neuron: Path, device: str):
    graph = TorchGraph(neuron, device=device)
    assert (graph.states, graph.input_shape, graph.device) == (2, [None, 3], device)
    state = graph.initial_state()
    for total in (1.0, 2.0, 3.0):
        y, state = graph.step(row(1, 0, -1), state)
        assert y.tolist() == [[2 * total, 0.0, -2 * total]]


@pytest.mark.parametrize("device", DEVICES)
def test_interleaved_sessions_do_not_touch_each_other(neuron: Path, device: str):
    graph = TorchGraph(neuron, device=device)
    inputs = np.random.default_rng(0).normal(size=(2, 6, 1, 3)).astype(np.float32)
    states = [graph.initial_state(), graph.initial_state()]
    for t in range(6):
        for session in (0, 1):
            y, states[session] = graph.step(inputs[session, t], states[session])
            assert np.allclose(y, 2 * inputs[session, : t + 1].sum(axis=0), atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_a_state_can_be_gone_back_to_and_outputs_outlive_the_steps_after_them(neuron: Path, device: str):
    graph = TorchGraph(neuron, device=device)
    _, early = graph.step(row(1, 2, 3), graph.initial_state())
    first, later = graph.step(row(5, 5, 5), early)
    kept = first.copy()
    graph.step(row(7, 7, 7), later)
    assert np.array_equal(first, kept)
    assert np.array_equal(graph.step(row(5, 5, 5), early)[0], kept)
    assert graph.step(row(0, 0, 0), graph.initial_state())[0].tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("device", DEVICES)
def test_an_input_that_is_reused_by_its_owner_changes_nothing_and_may_be_of_another_type(neuron: Path, device: str):
    graph = TorchGraph(neuron, device=device)
    x = np.array([[1, 9], [0, 9], [1, 9]], np.uint8).T[:1]
    y, state = graph.step(x, graph.initial_state())
    x[:] = 100
    assert y.tolist() == [[2.0, 0.0, 2.0]]
    assert graph.step(row(0, 0, 0), state)[0].tolist() == [[2.0, 0.0, 2.0]]


@pytest.mark.parametrize("device", DEVICES)
def test_an_output_left_on_the_device_goes_into_the_next_graph_and_is_not_written_over(
    neuron: Path, doubler: Path, device: str
):
    graph, source = TorchGraph(neuron, device=device), TorchGraph(doubler, device=device)
    doubled = source.left_there(row(1, 2, 3))
    source.left_there(row(9, 9, 9))
    assert doubled.device.type == device
    assert graph.step(doubled, graph.initial_state())[0].tolist() == [[4.0, 8.0, 12.0]]


@pytest.mark.parametrize("device", DEVICES)
def test_each_call_is_told_when_it_is_over(neuron: Path, doubler: Path, device: str):
    calls: list[int] = []
    graph, source = TorchGraph(neuron, device=device), TorchGraph(doubler, device=device)
    graph.on_call = source.on_call = lambda: calls.append(1)
    graph.step(row(1, 2, 3), graph.initial_state())
    source.left_there(row(1, 2, 3))
    source.run(row(1, 2, 3))
    assert len(calls) == 3


def test_what_does_not_fit_is_one_line(neuron: Path, doubler: Path):
    graph, other = TorchGraph(neuron), TorchGraph(doubler)
    with pytest.raises(ModelError, match=r"neuron\.onnx: 0 states were given, the graph has 2"):
        graph.run(row(1, 2, 3))
    with pytest.raises(ModelError, match=r"toy\.onnx: a timestep failed: x is \[1, 2\], the graph takes \[1, 3\]"):
        other.run(row(1, 2))
    with pytest.raises(ModelError, match="the state is none of this graph"):
        graph.step(row(1, 2, 3), other.initial_state())


def test_what_is_no_step_graph_or_holds_what_is_not_supported_is_one_line(tmp_path: Path):
    x, y = {"x": [1, 3]}, {"y": [1, 3]}
    path = tmp_path / "toy.onnx"
    with pytest.raises(ModelError, match=r"toy\.onnx: not a step graph: 1 inputs and 2 outputs"):
        TorchGraph(save(path, [helper.make_node("Split", ["x"], ["y", "z"], axis=1)], x, y | {"z": [1, 1]}))
    with pytest.raises(ModelError, match=r"toy\.onnx: operator Erf is not among those that PyTorch runs here"):
        TorchGraph(save(path, [helper.make_node("Erf", ["x"], ["y"])], x, y))
    with pytest.raises(ModelError, match=r"toy\.onnx: an output is float32 \[1, 3\], where float32 \[1, 4\] is"):
        TorchGraph(save(path, [helper.make_node("Neg", ["x"], ["y"])], x, {"y": [1, 4]}))
    with pytest.raises(ModelError, match=r"toy\.onnx: cannot be run by PyTorch: .*shapes"):
        TorchGraph(save(path, [helper.make_node("MatMul", ["x", "x"], ["y"])], x, y))


@pytest.mark.skipif(torch.cuda.is_available(), reason="PyTorch sees a GPU here")
def test_a_gpu_that_is_not_there_is_an_error_and_not_the_cpu(doubler: Path):
    with pytest.raises(ModelError, match=r"toy\.onnx: runtime\.device cuda, but PyTorch .* here sees no GPU"):
        TorchGraph(doubler, device="cuda")


def with_weights(model: bytes, path: Path) -> Path:
    """The probe with weights on the grid of 2^-12 that make spikes at every depth, instead of one number everywhere."""
    graph, rng = onnx.load_from_string(model), np.random.default_rng(0)
    shapes = {each.name: numpy_helper.to_array(each) for each in graph.graph.initializer}
    filled = {node.output[0]: shapes[node.input[0]] for node in graph.graph.node if node.op_type == "ConstantOfShape"}
    for name, shape in filled.items():
        scale = 0.3 if len(shape) == 1 else 2.5 / np.sqrt(np.prod(shape[1:]))
        values = np.round(rng.normal(0.02, scale, shape) * 4096) / 4096
        graph.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    nodes = [node for node in graph.graph.node if node.op_type != "ConstantOfShape"]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    path.write_bytes(graph.SerializeToString())
    return path


@pytest.mark.parametrize("device", DEVICES)
def test_a_deep_network_gives_the_bits_of_onnx_runtime(tmp_path: Path, device: str):
    """At full width on a GPU, where a library would choose transformed convolutions and TF32."""
    width = 64 if device == "cuda" else 8
    path = with_weights(probe(width), tmp_path / "deep.onnx")
    ours, theirs = TorchGraph(path, device=device), OnnxGraph(path)
    rng, state, expected_state = np.random.default_rng(1), ours.initial_state(), theirs.initial_state()
    for _ in range(4):
        x = (np.round(rng.normal(0.6, 1.0, ours.blank().shape) * 4096) / 4096).astype(np.float32)
        y, state = ours.step(x, state)
        expected, expected_state = theirs.step(x, expected_state)
        np.testing.assert_array_equal(y, expected)
        assert expected.any(), "no spike reaches the end"
