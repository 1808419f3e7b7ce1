"""Step graphs made elsewhere become a model: checked, joined for the baseline, and calibrated like any other."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from testbed.data.datasets import Dataset, Samples
from testbed.data.datasets import load as load_dataset
from testbed.errors import DataError, ExperimentError, ModelError
from testbed.runtime.artefact import verify
from testbed.runtime.onnx import OnnxGraph
from testbed.snn.artefact import ensure, standing
from testbed.snn.calibrate import Settings, calibrate
from testbed.snn.evaluate import evaluate
from testbed.snn.pair import Graphs, write_pair
from testbed.snn.pair_spec import PairSpec
from testbed.snn.recipe import load_recipe
from tests.testbed.snn import graphs

T = 3


def recipe_file(folder: Path, **changes: object) -> Path:
    """A recipe for `edge.onnx` and `cloud.onnx` of its folder."""
    document = {
        "name": "theirs",
        "dataset": {"name": "digits", "image_size": 8, "channels": 1},
        "backbone": {"edge": "edge.onnx", "cloud": "cloud.onnx"},
        "timesteps": T,
        "variants": {"imported": {"split": "cut"}},
    } | changes
    path = folder / "theirs.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    graphs.write(tmp_path, edge=graphs.edge(), cloud=graphs.cloud())
    return recipe_file(tmp_path)


def test_a_pair_answers_as_worked_out_by_hand_cut_joined_and_all_timesteps_at_once(pair, tmp_path):
    folder = ensure(pair, "imported", tmp_path / "models", None)
    card = verify(folder)
    test = load_dataset(load_recipe(pair).dataset).test
    cut, whole = (Graphs(folder, T, cut=cut) for cut in (True, False))
    for number in range(20):
        codes, logits = graphs.answers(test.images[number], T)
        x = test.images[number : number + 1]
        assert 0.02 < codes.mean() < 0.98, "the code carries nothing"
        assert np.array_equal(np.concatenate(list(cut.codes(x))), codes)
        one = Samples(x, test.labels[number : number + 1])
        for found in (cut.logits(one)[:, 0], whole.logits(one)[:, 0], OnnxGraph(folder / "full.onnx").run(x)):
            np.testing.assert_array_equal(found, logits)
    answers = [graphs.answers(image, T)[1].cumsum(0).argmax(1) for image in test.images]
    right = np.array(answers) == test.labels[:, None]
    assert card.accuracy_per_timestep["split"] == pytest.approx(np.mean(right, axis=0))
    assert card.accuracy_per_timestep["full"] == card.accuracy_per_timestep["split"]
    assert (card.code_shape, card.compression, card.bottleneck) == ([2, 4, 4], 32.0, False)
    assert card.graphs["full_step.onnx"].macs == card.graphs["edge.onnx"].macs + card.graphs["cloud.onnx"].macs


def test_frames_of_events_pass_the_stem_one_by_one(tmp_path):
    rng = np.random.default_rng(0)
    frames = [Samples(rng.integers(0, 256, (4, T, 1, 8, 8), dtype=np.uint8), np.arange(4)) for _ in range(3)]
    graphs.write(tmp_path, edge=graphs.edge(), cloud=graphs.cloud())
    recipe = load_recipe(recipe_file(tmp_path))
    assert isinstance(recipe.backbone, PairSpec)
    dataset = Dataset("made", "frames", tuple("0123456789"), *frames)
    write_pair(recipe.backbone, "theirs/imported", T, dataset, tmp_path / "artefact", {})
    for x in frames[2].images:
        expected = graphs.answers(x, T)[1]
        assert expected.std() > 0
        np.testing.assert_array_equal(OnnxGraph(tmp_path / "artefact" / "full.onnx").run(x[None]), expected)


def test_an_open_batch_becomes_one(tmp_path):
    graphs.write(tmp_path, edge=graphs.edge(batch="N"), cloud=graphs.cloud())
    folder = ensure(recipe_file(tmp_path), "imported", tmp_path / "models", None)
    assert OnnxGraph(folder / "edge.onnx").input_shape == [1, 1, 8, 8]


def test_what_the_code_stands_for_gives_its_compression(tmp_path):
    graphs.write(tmp_path, edge=graphs.edge(), cloud=graphs.cloud())
    told = {"edge": "edge.onnx", "cloud": "cloud.onnx", "feature": [8, 8, 8]}
    recipe = load_recipe(recipe_file(tmp_path, backbone=told))
    variant = recipe.variants["imported"]
    assert (recipe.feature_shape(variant), recipe.code_shape(variant)) == ((8, 8, 8), (2, 4, 4))
    assert recipe.compression(variant) == 512


def test_another_graph_is_another_artefact(pair, tmp_path):
    models = tmp_path / "models"
    folder = ensure(pair, "imported", models, None)
    assert standing(pair, "imported", models) == (folder, "ready")
    graphs.write(tmp_path, edge=graphs.edge(threshold=1.5))
    assert standing(pair, "imported", models) == (folder, "to export")
    graphs.write(tmp_path, edge=graphs.edge(graded=True))
    with pytest.raises(ExperimentError, match="not binary"):
        standing(pair, "imported", models)


def test_its_exit_is_calibrated_on_the_answers_of_the_graphs(pair, tmp_path):
    models = tmp_path / "models"
    ensure(pair, "imported", models, None)
    settings = Settings(network="split", drop=50, policy="max_softmax", accumulate="mean", per_timestep=False)
    found = calibrate(pair, "imported", models, None, settings)
    assert found.found.mean_exit_timestep < T
    assert sum(found.found.exits) == found.validation.samples


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"edge": graphs.edge(graded=True)}, r"edge\.onnx: its code is not binary: it has -?\d"),
        ({"edge": graphs.edge(state=(4, 4, 2))}, r"edge\.onnx: state 1 goes in as \(float\)\[1, 2, 4, 4\] and "
         r"comes out as \(float\)\[1, 4, 4, 2\]"),
        ({"cloud": graphs.cloud(code=(2, 2, 4))}, r"cloud\.onnx: takes \[1, 2, 2, 4\], but the code of edge\.onnx is "
         r"\[1, 2, 4, 4\]"),
        ({"edge": graphs.cloud()}, r"edge\.onnx: takes \[1, 2, 4, 4\], but an image of the data set is \[1, 1, 8, 8\]"),
        ({"cloud": graphs.edge()}, r"cloud\.onnx: takes \[1, 1, 8, 8\], but the code"),
    ],
    ids=["graded", "unpaired state", "other code", "swapped edge", "swapped cloud"],
)  # fmt: skip
def test_graphs_that_do_not_fit_are_one_line(tmp_path, made, said):
    graphs.write(tmp_path, **{"edge": graphs.edge(), "cloud": graphs.cloud(), **made})
    with pytest.raises(ExperimentError, match=r"theirs\.yaml:\d+: backbone: .*" + said) as found:
        load_recipe(recipe_file(tmp_path))
    assert "\n" not in str(found.value)


def test_a_graph_that_takes_floats_asks_for_its_stem(tmp_path):
    float_edge = graphs.edge()
    float_edge.graph.input[0].type.tensor_type.elem_type = 1
    graphs.write(tmp_path, edge=float_edge, cloud=graphs.cloud())
    with pytest.raises(ExperimentError, match=r"edge\.onnx: takes float32, but pixels are uint8; .*its own: stem"):
        load_recipe(recipe_file(tmp_path))


def test_graphs_of_two_opsets_cannot_be_joined(tmp_path):
    graphs.write(tmp_path, edge=graphs.edge(), cloud=graphs.cloud(opset=16))
    with pytest.raises(ModelError, match=r"edge\.onnx and .*cloud\.onnx: graphs of opset 17 and 16 cannot be joined"):
        ensure(recipe_file(tmp_path), "imported", tmp_path / "models", None)
    assert [path.name for path in (tmp_path / "models" / "theirs").iterdir()] == [".export.lock"]


def test_logits_are_as_many_as_classes(tmp_path):
    graphs.write(tmp_path, edge=graphs.edge(), cloud=graphs.cloud(classes=9))
    with pytest.raises(DataError, match=r"cloud\.onnx: 9 logits, but the data set has 10 classes"):
        ensure(recipe_file(tmp_path), "imported", tmp_path / "models", None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"training": {"phases": []}}, r"training: a pair of graphs is as it is, and not trained"),
        ({"variants": {"imported": {"split": "conv1"}}}, r"split: a pair of graphs has no split 'conv1'; there is cut"),
        (
            {"variants": {"imported": {"split": "cut", "bottleneck": {"channels": 1, "stride": 2}}}},
            r"bottleneck: a pair of graphs has its code already",
        ),
        ({"backbone": {"edge": "edge.onnx"}}, r"backbone\.cloud: is missing"),
    ],
)
def test_what_such_a_recipe_cannot_mean_is_refused_where_it_stands(tmp_path, changes, said):
    graphs.write(tmp_path, edge=graphs.edge(), cloud=graphs.cloud())
    with pytest.raises(ExperimentError, match=r"theirs\.yaml:\d+: .*" + said):
        load_recipe(recipe_file(tmp_path, **changes))


def test_evaluate_says_that_it_is_for_networks(pair, tmp_path):
    with pytest.raises(ModelError, match=r"theirs\.yaml: evaluate is for networks"):
        evaluate(pair, tmp_path / "models", None, 0.5)
