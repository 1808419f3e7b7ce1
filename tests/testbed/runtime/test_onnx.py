from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from devices.base.providers import PROVIDERS
from testbed.errors import ModelError
from testbed.runtime.onnx import OnnxGraph

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def make(
        nodes: list[onnx.NodeProto],
        inputs: dict[str, list[int | str]],
        outputs: dict[str, list[int | str]],
        dtype: int = TensorProto.FLOAT,
    ) -> Path:
        graph = helper.make_graph(
            nodes,
            "toy",
            [helper.make_tensor_value_info(name, dtype, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, dtype, shape) for name, shape in outputs.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        path = tmp_path / "toy.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return make


@pytest.fixture
def neuron(save: Save) -> OnnxGraph:
    """Two states: `sum` adds x up, `last` is x itself (so an output that is an input). y = 2 · sum."""
    nodes = [
        helper.make_node("Add", ["x", "sum"], ["sum_next"]),
        helper.make_node("Add", ["sum_next", "sum_next"], ["y"]),
        helper.make_node("Identity", ["x"], ["last_next"]),
    ]
    return OnnxGraph(
        save(
            nodes,
            {"x": ["batch", 3], "sum": ["batch", 3], "last": [1, 3]},
            {"y": ["batch", 3], "sum_next": ["batch", 3], "last_next": [1, 3]},
        )
    )


@pytest.fixture
def doubler(save: Save) -> OnnxGraph:
    return OnnxGraph(save([helper.make_node("Add", ["x", "x"], ["y"])], {"x": [1, 3]}, {"y": [1, 3]}))


def row(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


def test_state_starts_at_zero_in_the_shapes_of_the_graph(neuron: OnnxGraph):
    assert neuron.states == 2
    assert neuron.input_shape == [None, 3]
    for state in neuron.initial_state():
        assert state.numpy().dtype == np.float32
        assert state.numpy().tolist() == [[0.0, 0.0, 0.0]]


def test_state_carries_from_timestep_to_timestep(neuron: OnnxGraph):
    state = neuron.initial_state()
    for total in (1.0, 2.0, 3.0):
        y, state = neuron.step(row(1, 0, -1), state)
        assert y.tolist() == [[2 * total, 0.0, -2 * total]]
    assert state[0].numpy().tolist() == [[3.0, 0.0, -3.0]]
    assert state[1].numpy().tolist() == [[1.0, 0.0, -1.0]]


def test_interleaved_sessions_do_not_touch_each_other(neuron: OnnxGraph):
    inputs = np.random.default_rng(0).normal(size=(2, 6, 1, 3)).astype(np.float32)
    states = [neuron.initial_state(), neuron.initial_state()]
    for t in range(6):
        for session in (0, 1):
            y, states[session] = neuron.step(inputs[session, t], states[session])
            assert np.allclose(y, 2 * inputs[session, : t + 1].sum(axis=0), atol=1e-5)


def test_a_state_can_be_gone_back_to(neuron: OnnxGraph):
    _, early = neuron.step(row(1, 2, 3), neuron.initial_state())
    kept = [value.numpy().copy() for value in early]
    first, _ = neuron.step(row(5, 5, 5), early)
    _, later = neuron.step(row(9, 9, 9), early)
    neuron.step(row(7, 7, 7), later)
    assert all(np.array_equal(value.numpy(), copy) for value, copy in zip(early, kept, strict=True))
    assert np.array_equal(neuron.step(row(5, 5, 5), early)[0], first)
    assert all(not value.numpy().any() for value in neuron.initial_state())


def test_an_input_that_is_reused_by_its_owner_does_not_change_state_or_output(neuron: OnnxGraph):
    x = row(1, 2, 3)
    y, state = neuron.step(x, neuron.initial_state())
    x[:] = 100
    assert y.tolist() == [[2.0, 4.0, 6.0]]
    assert state[1].numpy().tolist() == [[1.0, 2.0, 3.0]]
    y[:] = 50
    assert state[0].numpy().tolist() == [[1.0, 2.0, 3.0]]


def test_outputs_outlive_the_steps_after_them(neuron: OnnxGraph):
    state, outputs = neuron.initial_state(), []
    for _ in range(50):
        y, state = neuron.step(row(1, 1, 1), state)
        outputs.append(y)
    assert [y[0, 0] for y in outputs] == [2.0 * t for t in range(1, 51)]


def test_inputs_of_another_type_or_layout_are_converted(neuron: OnnxGraph):
    spikes = np.array([[1, 9], [0, 9], [1, 9]], np.uint8).T[:1]
    assert not spikes.flags.c_contiguous
    assert neuron.step(spikes, neuron.initial_state())[0].tolist() == [[2.0, 0.0, 2.0]]


def test_a_graph_without_state_is_run(doubler: OnnxGraph):
    assert doubler.initial_state() == []
    assert doubler.run(row(1, 2, 3)).tolist() == [[2.0, 4.0, 6.0]]
    assert doubler.step(row(1, 2, 3), [])[1] == []


def test_several_threads_give_the_same_answer(doubler: OnnxGraph):
    graph = OnnxGraph(doubler.path, threads=2)
    assert graph.run(row(1, 2, 3)).tolist() == [[2.0, 4.0, 6.0]]


def test_a_graph_with_state_is_not_run_without_it(neuron: OnnxGraph):
    with pytest.raises(ModelError, match=r"toy\.onnx: 0 states were given, the graph has 2"):
        neuron.run(row(1, 2, 3))


def test_input_or_state_that_does_not_fit_is_a_model_error(neuron: OnnxGraph, doubler: OnnxGraph):
    with pytest.raises(ModelError, match=r"toy\.onnx: a timestep failed"):
        doubler.run(row(1, 2))
    wide = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros((1, 4), np.float32))
    with pytest.raises(ModelError, match="a timestep failed"):
        neuron.step(row(1, 2, 3), [neuron.initial_state()[0], wide])


def test_a_state_that_does_not_come_out_again_is_refused(save: Save):
    path = save([helper.make_node("Add", ["x", "s"], ["y"])], {"x": [1], "s": [1]}, {"y": [1]})
    with pytest.raises(ModelError, match="not a step graph: 2 inputs and 1 outputs"):
        OnnxGraph(path)


def test_a_state_of_unknown_size_is_refused(save: Save):
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Identity", ["s"], ["s_next"])]
    path = save(nodes, {"x": [1], "s": [1, "any"]}, {"y": [1], "s_next": [1, "any"]})
    with pytest.raises(ModelError, match="state s has shape"):
        OnnxGraph(path)


def test_a_type_that_is_not_supported_is_named(save: Save):
    path = save([helper.make_node("Identity", ["x"], ["y"])], {"x": [1]}, {"y": [1]}, TensorProto.STRING)
    with pytest.raises(ModelError, match=r"x is a tensor\(string\)"):
        OnnxGraph(path)


@pytest.mark.parametrize("content", [None, b"", b"not a model", b"\x08\x09" * 50])
def test_a_file_that_is_no_graph_is_named(tmp_path: Path, content: bytes | None):
    path = tmp_path / "broken.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.onnx: "):
        OnnxGraph(path)


def test_a_provider_that_does_not_exist_is_named(doubler: OnnxGraph):
    with pytest.raises(ModelError, match="no runtime provider named 'abacus'"):
        OnnxGraph(doubler.path, provider="abacus")


@pytest.mark.parametrize(("provider", "missing"), [("cuda", "CUDA"), ("tensorrt", "Tensorrt")])
def test_a_provider_that_is_not_installed_is_an_error(doubler: OnnxGraph, provider: str, missing: str):
    if f"{missing}ExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has it")
    with pytest.raises(ModelError, match=rf"toy\.onnx: runtime\.provider {provider} needs {missing}ExecutionProvider"):
        OnnxGraph(doubler.path, provider=provider)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_does_not_start_is_an_error_and_not_the_cpu(
    doubler: OnnxGraph, monkeypatch: pytest.MonkeyPatch
):
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has it")
    # As with a build for GPUs on a machine whose GPU does not work: it is listed, and the session goes on without it.
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.raises(ModelError, match=r"needs CUDAExecutionProvider, which .* here does not give"):
        OnnxGraph(doubler.path, provider="cuda")


def test_a_gpu_computes_without_tf32_and_without_transformed_convolutions(
    doubler: OnnxGraph, monkeypatch: pytest.MonkeyPatch
):
    """Sums of the grid are exact in any order, but not in ten bits, nor off the grid."""
    asked: list[tuple[str, dict[str, str]]] = []

    def session(path: str, options: object, providers: list[tuple[str, dict[str, str]]]) -> None:
        asked.extend(providers)
        raise RuntimeError("seen enough")

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(PROVIDERS["tensorrt"]))
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    for provider in ("cuda", "tensorrt"):
        with pytest.raises(ModelError, match="cannot be loaded: seen enough"):
            OnnxGraph(doubler.path, provider=provider)
    cuda = ("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "DEFAULT"})
    assert asked == [cuda, ("TensorrtExecutionProvider", {}), cuda]


def test_the_provider_asked_for_is_the_one_that_runs(doubler: OnnxGraph):
    assert doubler.providers == ["CPUExecutionProvider"]


def test_threads_spin_within_a_call_alone_and_only_where_asked(doubler: OnnxGraph):
    for spinning in (False, True):
        options = OnnxGraph(doubler.path, 2, spinning=spinning)._session.get_session_options()  # noqa: SLF001
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == str(int(spinning))
        assert options.get_session_config_entry("session.force_spinning_stop") == "1"


def test_no_call_copies_a_state_between_host_and_device(neuron: OnnxGraph, tmp_path: Path, monkeypatch):
    """ONNX Runtime's profile names a Memcpy node for each copy that a call makes; the same path serves a GPU."""

    class Profiled(onnxruntime.SessionOptions):
        def __init__(self) -> None:
            super().__init__()
            self.enable_profiling = True
            self.profile_file_prefix = str(tmp_path / "profile")

    monkeypatch.setattr(onnxruntime, "SessionOptions", Profiled)
    for provider in ("cpu", "cuda"):
        if PROVIDERS[provider][0] not in onnxruntime.get_available_providers():
            continue
        graph = OnnxGraph(neuron.path, provider=provider)
        state = graph.initial_state()
        for _ in range(3):
            _, state = graph.step(row(1, 2, 3), state)
            assert {value.device_name().lower() for value in state} == {graph.device}
        profile = json.loads(Path(graph._session.end_profiling()).read_text())  # noqa: SLF001
        operators = Counter(event["args"]["op_name"] for event in profile if event["cat"] == "Node")
        assert operators["Add"] == 6
        assert not [name for name in operators if name.startswith("Memcpy")]


def test_an_output_left_on_the_device_goes_into_the_next_graph_as_it_is(neuron: OnnxGraph, doubler: OnnxGraph):
    doubled = doubler.left_there(row(1, 2, 3))
    assert doubled.device_name().lower() == doubler.device
    assert neuron._value(doubled) is doubled  # noqa: SLF001
    assert neuron.step(doubled, neuron.initial_state())[0].tolist() == [[4.0, 8.0, 12.0]]
    assert doubled.numpy().tolist() == [[2.0, 4.0, 6.0]]
