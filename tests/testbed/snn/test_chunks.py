"""A graph that takes several timesteps in one call gives bit for bit what one that takes one gives, call by call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper
from onnx.parser import parse_model

from testbed.errors import ModelError
from testbed.runtime.artefact import load_card, verify, write_card
from testbed.runtime.onnx import OnnxGraph
from testbed.snn.chunked import chunked
from testbed.snn.chunks import check, chunk_graph
from tests.made import records

# A neuron behind a convolution, a shortcut around another, and a head; the second neuron spikes by the first one's.
STEP = """
<ir_version: 9, opset_import: ["" : 20]>
step (float[1, 2, 6, 6] x, float[1, 2, 6, 6] v0, float[1, 2, 6, 6] v1)
    => (float[1, 3] y, float[1, 2, 6, 6] v0_next, float[1, 2, 6, 6] v1_next) {
    half = Constant <value: tensor = float {0.5}> ()
    one = Constant <value: tensor = float {1.0}> ()
    decayed = Mul (v0, half)
    charged = Add (decayed, x)
    fires = GreaterOrEqual (charged, one)
    spikes = Cast <to = 1> (fires)
    rests = Sub (one, spikes)
    v0_next = Mul (rests, charged)
    current = Conv <pads = [1, 1, 1, 1]> (spikes, weight)
    summed = Add (current, spikes)
    decayed1 = Mul (v1, half)
    charged1 = Add (decayed1, summed)
    fires1 = GreaterOrEqual (charged1, one)
    spikes1 = Cast <to = 1> (fires1)
    rests1 = Sub (one, spikes1)
    v1_next = Mul (rests1, charged1)
    flat = Reshape (spikes1, shape)
    y = Gemm (flat, head)
}
"""


def step_graph() -> ModelProto:
    rng = np.random.default_rng(2)
    model = parse_model(STEP)
    weights = {
        "weight": rng.integers(-900, 1200, (2, 2, 3, 3)).astype(np.float32) / 4096,
        "head": rng.normal(0, 1, (72, 3)).astype(np.float32),  # on no grid: its sums depend on their order
        "shape": np.array([1, 72]),
    }
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    onnx.checker.check_model(model)
    return onnx.shape_inference.infer_shapes(model)


@pytest.mark.parametrize("still", [False, True])
@pytest.mark.parametrize("timesteps", [2, 3, 7])
def test_several_timesteps_in_one_call_are_those_timesteps(timesteps: int, still: bool, tmp_path: Path) -> None:
    step = step_graph()
    chunk = chunk_graph(step, timesteps, still=still)
    check(step, chunk, timesteps, still=still, what="step.onnx")
    onnx.checker.check_model(chunk, full_check=True)
    for name, model in (("step", step), ("chunk", chunk)):
        (tmp_path / name).write_bytes(model.SerializeToString())
    one, several = (OnnxGraph(tmp_path / name) for name in ("step", "chunk"))
    x = np.random.default_rng(5).normal(0.6, 0.5, (1 if still else timesteps, 2, 6, 6)).astype(np.float32)
    state, found = one.initial_state(), []
    for t in range(timesteps):
        y, state = one.step(x[:1] if still else x[t : t + 1], state)
        found.append(y)
    y, after = several.step(x, several.initial_state())
    assert y.tobytes() == np.concatenate(found).tobytes()
    assert [a.numpy().tobytes() for a in after] == [a.numpy().tobytes() for a in state]
    assert len(np.unique(y, axis=0)) > 1


def test_layers_run_once_for_all_timesteps_and_neurons_once_for_each() -> None:
    chunk = chunk_graph(step_graph(), 5, still=False)
    kinds = [node.op_type for node in chunk.graph.node]
    assert kinds.count("Conv") == 1
    assert kinds.count("GreaterOrEqual") == 10
    assert kinds.count("Gemm") == 5


def test_a_graph_that_mixes_up_its_timesteps_is_not_believed() -> None:
    step = step_graph()
    chunk = chunk_graph(step, 3, still=False)
    (charge, *_) = [node for node in chunk.graph.node if node.output[0] == "charged@1"]
    charge.input[1] = charge.input[1].replace("@1", "@2")
    with pytest.raises(ModelError, match=r"step\.onnx: 3 timesteps in one call do not give what 3 calls give"):
        check(step, chunk, 3, still=False, what="step.onnx")


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "toy" / "coded"
    folder.mkdir(parents=True)
    for name in ("edge.onnx", "cloud.onnx", "full_step.onnx"):
        (folder / name).write_bytes(step_graph().SerializeToString())
    (folder / "weights.safetensors").write_bytes(b"weights")
    write_card(folder, records.model())
    return folder


def test_an_artefact_gets_the_graphs_that_are_asked_for_beside_it_and_stays_as_it_is(artefact: Path) -> None:
    before = load_card(artefact)
    folder = chunked(artefact, {"edge", "cloud"}, {3, 2})
    card = verify(folder)
    added = {"edge_x2.onnx", "edge_x3.onnx", "cloud_x2.onnx", "cloud_x3.onnx"}
    assert set(card.files) == set(before.files) | added
    assert card.hash != before.hash
    assert load_card(artefact) == before
    assert (folder / "weights.safetensors").stat().st_ino == (artefact / "weights.safetensors").stat().st_ino
    inputs = {name: OnnxGraph(folder / name).input_shape[0] for name in added}
    one, three = card.graphs["cloud.onnx"], card.graphs["cloud_x3.onnx"]
    assert three.macs == 3 * one.macs  # what an emulated node charges for a call
    # A still image's current is the same at every timestep; codes are not.
    assert inputs == {"edge_x2.onnx": 1, "edge_x3.onnx": 1, "cloud_x2.onnx": 2, "cloud_x3.onnx": 3}


def test_graphs_for_chunks_are_made_once_and_alike(artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = chunked(artefact, {"full"}, {4})
    digest = load_card(first).hash
    with monkeypatch.context() as patch:
        patch.setattr("testbed.snn.chunked._make", lambda *given: pytest.fail("made again"))
        assert chunked(artefact, {"full"}, {4}) == first
    (first / "model.yaml").unlink()
    assert load_card(chunked(artefact, {"full"}, {4})).hash == digest


def test_what_was_made_of_an_earlier_export_goes_with_it(artefact: Path) -> None:
    first = chunked(artefact, {"full"}, {2})
    write_card(artefact, records.model(trained={"weights": "others"}))
    second = chunked(artefact, {"full"}, {3})
    assert (first.exists(), second.exists()) == (False, True)


def test_a_layer_that_mixes_its_batch_is_told_in_a_line(artefact: Path) -> None:
    step = step_graph()
    (shape,) = [each for each in step.graph.initializer if each.name == "shape"]
    shape.CopyFrom(numpy_helper.from_array(np.array([2, 36]), "shape"))
    (head,) = [each for each in step.graph.initializer if each.name == "head"]
    head.CopyFrom(numpy_helper.from_array(np.ones((36, 3), np.float32), "head"))
    step.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 2
    (artefact / "cloud.onnx").write_bytes(step.SerializeToString())
    write_card(artefact, records.model())
    with pytest.raises(ModelError, match=r"cloud\.onnx: .*3 timesteps in one call") as caught:
        chunked(artefact, {"cloud"}, {3})
    assert "\n" not in str(caught.value)


def test_a_graph_that_cannot_be_unrolled_leaves_nothing_half_made(artefact: Path) -> None:
    (artefact / "full_step.onnx").write_bytes(b"no graph")
    write_card(artefact, records.model())
    with pytest.raises(ModelError, match=r"full_step\.onnx: cannot be read"):
        chunked(artefact, {"full"}, {4})
    assert not [path for path in (artefact.parent / ".chunks").iterdir() if not path.name.startswith(".")]
