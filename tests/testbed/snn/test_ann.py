"""A network without spikes: exported as one graph, quantised on training samples, counted, and evaluated."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from onnx import numpy_helper

from testbed.cli.model import train as train_verb
from testbed.data.datasets import Samples, load
from testbed.errors import ExperimentError, ModelError
from testbed.runtime.artefact import load_card
from testbed.runtime.onnx import OnnxGraph
from testbed.runtime.torch.graph import TorchGraph
from testbed.snn import ann, artefact
from testbed.snn.ann import logits, write_ann
from testbed.snn.artefact import check_variant
from testbed.snn.build import build
from testbed.snn.deployable import deployable
from testbed.snn.evaluate import evaluate
from testbed.snn.evaluation import table
from testbed.snn.recipe import load_recipe
from testbed.snn.share import shares
from tests.testbed.snn.made import stripes

RECIPE = {
    "name": "tiny-ann",
    "dataset": {"name": "digits", "image_size": 16, "channels": 1, "max_per_class": 40},
    "backbone": {"width": 4, "neuron": "relu"},
    "timesteps": 1,
    "training": {
        "batch_size": 32,
        "flip": False,
        "precision": "fp32",
        "phases": [{"train": "backbone", "epochs": 3, "lr": 0.01}],
    },
    "checkpoint": "tiny-ann.weights.xz",
}
FORMS = ("float", "int8")
CONVOLUTIONS = 1 + 16 + 3  # the stem, those of the blocks, and of the shortcuts that change the width
SIDE = 8


def recipe_file(folder: Path, **changes: object) -> Path:
    path = folder / "tiny-ann.yaml"
    path.write_text(yaml.safe_dump(RECIPE | changes))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A recipe whose packed weights lie beside it, and the folder of its models: both forms are exported."""
    folder = tmp_path_factory.mktemp("ann")
    recipe = recipe_file(folder)
    (exported,) = artefact.train(recipe, folder / "models", None, lambda now: None, retrain=True)
    assert exported == folder / "models" / "tiny-ann" / "full"
    assert artefact.ensure(recipe, None, folder / "models", None, "int8") == exported.with_name("full.int8")
    return recipe, folder / "models"


def copy_to(source: Path, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(source.read_bytes())


def form(trained: tuple[Path, Path], weights: str) -> Path:
    return trained[1] / "tiny-ann" / ("full" if weights == "float" else "full.int8")


def test_the_graph_answers_as_the_deployed_network(trained):
    recipe, models = trained
    dataset = load(load_recipe(recipe).dataset)
    network = artefact.deployed_networks(recipe, models, dataset)["full"]
    with torch.inference_mode():
        expected = network(torch.from_numpy(dataset.test.images), 1)[0].numpy()
    np.testing.assert_allclose(logits(form(trained, "float") / "full.onnx", dataset.test), expected, atol=1e-4)


def test_the_8_bit_form_says_nearly_the_same_and_what_it_says_is_its_accuracy(trained):
    test = load(load_recipe(trained[0]).dataset).test
    exact, rounded = (logits(form(trained, weights) / "full.onnx", test) for weights in FORMS)
    assert not np.array_equal(exact, rounded)
    assert (exact.argmax(1) == rounded.argmax(1)).mean() > 0.9
    for weights, said in zip(FORMS, (exact, rounded), strict=True):
        card = load_card(form(trained, weights))
        assert card.accuracy_per_timestep == {"full": [np.mean(said.argmax(1) == test.labels)]}
        assert (card.spiking, card.weights, card.timesteps, card.split) == (False, weights, 1, None)


def test_every_layer_with_weights_computes_in_integers(trained, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    graph = form(trained, "int8") / "full.onnx"
    onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    found = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    assert (found["QLinearConv"], found["QGemm"], found["QLinearAdd"]) == (CONVOLUTIONS, 1, 8)
    assert not {"Conv", "Gemm", "MatMul", "Add"} & set(found)


def test_weights_have_7_bits_so_that_no_processor_cuts_sums_off_and_a_scale_for_each_channel(trained):
    graph = onnx.load(form(trained, "int8") / "full.onnx").graph
    weights = [numpy_helper.to_array(each) for each in graph.initializer if each.data_type == onnx.TensorProto.INT8]
    kernels = [each for each in weights if each.ndim == 4]
    assert len(kernels) == CONVOLUTIONS
    assert max(np.abs(each.astype(int)).max() for each in weights) <= 64
    assert all(np.abs(each.astype(int)).reshape(len(each), -1).max(1).min() >= 63 for each in kernels)


def test_an_emulated_node_is_charged_for_integers(trained):
    exact, rounded = (load_card(form(trained, weights)).graphs["full.onnx"] for weights in FORMS)
    assert (exact.int8_macs, rounded.macs) == (0, 0)
    assert (rounded.int8_macs, rounded.layers) == (exact.macs, exact.layers) == (exact.macs, CONVOLUTIONS + 1)
    assert rounded.bytes < 0.3 * exact.bytes


def test_operations_are_macs_at_the_price_of_their_form(trained):
    exact, rounded = (load_card(form(trained, weights)) for weights in FORMS)
    for card, price in ((exact, 4.6), (rounded, 0.23)):
        counts = card.op_counts
        assert (counts.edge, counts.cloud, counts.full.synops) == (None, None, [0.0])
        assert counts.full.macs == [card.graphs["full.onnx"].macs + card.graphs["full.onnx"].int8_macs]
        assert counts.full.energy_compute_pj == pytest.approx([price * counts.full.macs[0] + 0.9 * counts.full.acs[0]])
    whole, eight = exact.op_counts.full, rounded.op_counts.full
    assert (whole.int8_macs, eight.int8_macs) == ([0.0], whole.macs)
    assert whole.memory_bytes[0] - eight.memory_bytes[0] == 3 * whole.macs[0]  # a weight is a byte and not four


def test_scales_are_chosen_on_training_samples_alone(trained, tmp_path, monkeypatch):
    recipe, there = load_recipe(trained[0]), form(trained, "float") / "full.onnx"
    monkeypatch.setattr(ann, "export_graph", lambda _module, _inputs, path: copy_to(there, path))
    dataset = load(recipe.dataset)
    network = build(recipe, dataset)["full"].eval()
    noise = np.random.default_rng(1).integers(0, 256, dataset.test.images.shape, np.uint8)
    graphs = []
    for name, changes in (
        ("as it is", {}),
        ("another test set", {"test": Samples(noise, dataset.test.labels)}),
        ("another training set", {"train": Samples(255 - dataset.train.images, dataset.train.labels)}),
    ):
        write_ann(recipe, network, replace(dataset, **changes), tmp_path / name, {}, "int8")
        graphs.append((tmp_path / name / "full.onnx").read_bytes())
    assert graphs[0] == graphs[1] != graphs[2]


def test_the_tool_that_quantises_leaves_the_root_logger_as_it_was(trained, tmp_path, monkeypatch):
    """It warns through it, and a root logger that has no handler would get one for good."""
    (tmp_path / "full.onnx").write_bytes((form(trained, "float") / "full.onnx").read_bytes())
    monkeypatch.setattr(logging.getLogger(), "handlers", [])

    ann.quantise(tmp_path / "full.onnx", load(load_recipe(trained[0]).dataset).train)

    assert logging.getLogger().handlers == []


def test_an_evaluation_has_a_row_for_each_form_and_says_that_it_is_an_ann(trained):
    rows = evaluate(*trained, None, 0.5, FORMS)
    assert [(row.weights, row.spiking, row.mode, row.mean_exit_timestep) for row in rows] == [
        ("float", False, "edge_only", 1.0),
        ("int8", False, "edge_only", 1.0),
    ]
    assert [row.accuracy for row in rows] == [
        load_card(form(trained, weights)).accuracy_per_timestep["full"][0] for weights in FORMS
    ]
    assert rows[1].drop_points == pytest.approx(100 * (rows[0].accuracy - rows[1].accuracy), abs=0.1)
    assert [cells[1] for cells in table(rows)[1]] == ["edge-only ANN", "edge-only ANN int8"]
    (alone,) = evaluate(*trained, None, 0.5, ("int8",))
    assert alone.drop_points == rows[1].drop_points


def test_frames_of_events_are_channels_of_one_step(tmp_path):
    """The SNN sees a frame at each timestep; the ANN sees all of them at once."""
    frames = 3
    recipe = load_recipe(
        recipe_file(tmp_path, dataset={"name": "digits_dvs", "image_size": SIDE, "frames": frames}, checkpoint=None)
    )
    dataset = stripes(64, frames=frames)
    assert shares(recipe).splits["stage4"] > 0.9
    network = build(recipe, dataset)["full"].eval()
    assert network.backbone.stem[0].in_channels == 2 * frames
    card = write_ann(recipe, network, dataset, tmp_path / "events", {}, "float")
    assert (card.input_shape, card.timesteps, card.sample_shape) == ([2, SIDE, SIDE], 1, [frames, 2, SIDE, SIDE])
    sample = dataset.test.images[:1]
    found = OnnxGraph(tmp_path / "events" / "full.onnx").run(sample)
    with torch.inference_mode():
        expected = deployable(network)(torch.from_numpy(sample), 1)[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    first, last = sample.copy(), sample.copy()
    first[:, 0], last[:, -1] = 0, 0  # the frames of this sample are the same but for that
    assert not np.allclose(*(OnnxGraph(tmp_path / "events" / "full.onnx").run(each) for each in (first, last)))
    assert card.op_counts.full.macs == [card.graphs["full.onnx"].macs]


def test_weights_that_are_not_there_are_one_line_that_says_how_to_make_them(tmp_path):
    recipe = recipe_file(tmp_path, checkpoint=None)
    with pytest.raises(ModelError, match=r"full\.int8: not trained yet; make it with: testbed train .*tiny-ann\.yaml$"):
        artefact.ensure(recipe, None, tmp_path / "models", None, "int8")


def test_a_network_that_is_never_cut_has_no_variant_and_one_that_is_needs_one(trained, tmp_path):
    path = trained[0]
    recipe = load_recipe(path)
    check_variant(path, recipe, None, "int8")
    with pytest.raises(ExperimentError, match="a relu network is not cut, so it has no variant 'plain'; leave"):
        check_variant(path, recipe, "plain")
    cut = {"backbone": {"width": 4}, "timesteps": 2, "variants": {"plain": {"split": "stage1"}}}
    spiking = recipe_file(tmp_path, **cut)
    with pytest.raises(ExperimentError, match=r"name a variant; there is plain$"):
        check_variant(spiking, load_recipe(spiking), None)


def test_training_prints_a_network_without_code(trained, capsys):
    train_verb(trained[0], results=trained[1].parent, accelerator="cpu")
    (accuracy,) = load_card(form(trained, "float")).accuracy_per_timestep["full"]
    assert f"{accuracy:.4f}" in capsys.readouterr().out


@pytest.mark.parametrize("weights", FORMS)
def test_the_graph_runs_in_pytorch_too_and_answers_alike(trained, weights):
    """Not to the bit: what follows the integer sums is rounded in float."""
    graph, test = form(trained, weights) / "full.onnx", load(load_recipe(trained[0]).dataset).test
    in_torch = TorchGraph(graph)
    found = np.concatenate([in_torch.run(test.images[at : at + 1]) for at in range(40)])
    assert (found.argmax(1) == logits(graph, test)[:40].argmax(1)).mean() > 0.9
