"""`testbed evaluate` says of trained recipes what their exported halves would do on the test set."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from analysis.curves import EVALUATED, read_curves
from testbed.data.datasets import load
from testbed.link.codec import CodecBook
from testbed.record.exits import accumulate, confidence
from testbed.runtime.artefact import load_card
from testbed.runtime.onnx import OnnxGraph
from testbed.snn import artefact
from testbed.snn.evaluate import evaluate
from testbed.snn.evaluation import Row, table, write_rows
from testbed.snn.recipe import load_recipe

RECIPE = {
    "name": "tiny",
    "dataset": {"name": "digits", "image_size": 16, "channels": 1, "max_per_class": 40},
    "backbone": {"width": 4},
    "timesteps": 2,
    "variants": {"coded": {"split": "stage1", "bottleneck": {"compression": 512}}},
    "training": {
        "batch_size": 32,
        "flip": False,
        "precision": "fp32",
        "phases": [{"train": "backbone", "epochs": 3, "lr": 0.01}, {"train": "codec", "epochs": 2, "lr": 0.01}],
    },
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("evaluate")
    recipe = folder / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    artefact.train(recipe, folder / "models", None, lambda now: None)
    return recipe, folder / "models"


@pytest.fixture(scope="module")
def rows(trained: tuple[Path, Path]) -> list[Row]:
    return evaluate(*trained, None, 2.0, ("float", "int8"))


@pytest.mark.parametrize("weights", ["float", "int8"])
def test_there_is_a_row_for_every_way_to_answer_in_each_form(rows, weights):
    found = [row for row in rows if row.weights == weights]
    assert [(row.mode, row.codec, row.exit_threshold is None) for row in found] == [
        ("edge_only", "", True),
        ("edge_only", "", False),
        ("co_inference", "packed", True),
        ("co_inference", "packed", False),
        ("co_inference", "auto", True),
        ("co_inference", "auto", False),
    ]


@pytest.mark.parametrize(("name", "first"), [("coded", 0), ("coded.int8", 6)])
def test_the_rows_are_what_the_exported_halves_do(trained, rows, name, first):
    recipe, models = trained
    folder = models / "tiny" / name
    card = load_card(folder)
    test = load(load_recipe(recipe).dataset).test
    stem, edge, cloud = (OnnxGraph(folder / f"{part}.onnx") for part in ("stem", "edge", "cloud"))
    encode = CodecBook(card.code_shape, card.code_rates).encoder("auto")
    told = rows[first + 5]
    threshold = told.exit_threshold
    right, exits, sent = [], [], []
    for image, label in zip(test.images, test.labels, strict=True):
        current, state, far = stem.run(image[None]), edge.initial_state(), cloud.initial_state()
        logits, payload = [], 0
        for t in range(2):
            code, state = edge.step(current, state)
            answer, far = cloud.step(code, far)
            logits.append(answer)
            payload += len(encode(code[0], t)[1])
            if confidence(accumulate(np.stack(logits))[-1])[0] >= threshold:
                break
        right.append(int(np.mean(logits, axis=0).argmax()) == label)
        exits.append(len(logits))
        sent.append(payload)
    assert told.accuracy == pytest.approx(np.mean(right))
    assert told.mean_exit_timestep == pytest.approx(np.mean(exits))
    assert told.payload_bytes == pytest.approx(np.mean(sent))


def test_an_export_says_the_accuracy_on_some_of_the_samples_and_evaluate_on_all(trained, rows, tmp_path, monkeypatch):
    recipe, models = trained
    (tmp_path / "tiny").mkdir()
    shutil.copytree(models / "tiny" / "training", tmp_path / "tiny" / "training")
    monkeypatch.setattr("testbed.snn.export.ACCURACY_SAMPLES", 7)
    there, no_card = models / "tiny" / "coded", shutil.ignore_patterns("model.yaml")
    monkeypatch.setattr(  # of the same weights; they take most of an export
        "testbed.snn.export.export_network", lambda *given: shutil.copytree(there, given[4], ignore=no_card)
    )
    some = load_card(artefact.ensure(recipe, "coded", tmp_path, None)).accuracy_per_timestep
    for name, row in (("full", rows[0]), ("split", rows[2])):
        sevenths = 7 * np.array(some[name])
        assert np.array_equal(sevenths, sevenths.round()), "of seven samples"
        assert row.samples == len(load(load_recipe(recipe).dataset).test) > 7


def test_drop_and_reductions_follow_from_the_numbers_beside_them(rows):
    backbone, packed = rows[0], rows[2]
    assert packed.drop_points == pytest.approx(100 * (backbone.accuracy - packed.accuracy))
    assert packed.drop_low <= packed.drop_points <= packed.drop_high
    elements, bits = 2 * 4 * 16 * 16, 2 * 64
    assert packed.payload_bytes == bits / 8
    assert packed.reduction_vs_float32 == pytest.approx(32 * elements / bits)
    assert packed.reduction_vs_packed == pytest.approx(elements / bits)
    assert rows[4].payload_bytes <= packed.payload_bytes
    assert [float(value) for value in packed.accuracy_per_timestep.split()][-1] == pytest.approx(
        packed.accuracy, abs=5e-5
    )


def test_every_drop_is_against_the_backbone_in_float(rows):
    for row in rows:
        assert row.drop_points == pytest.approx(100 * (rows[0].accuracy - row.accuracy))
    assert rows[6].weights == "int8"
    assert (rows[6].drop_low, rows[6].drop_high) != (rows[0].drop_low, rows[0].drop_high), "it is another network"


def test_a_row_says_which_recipe_but_for_the_seed_and_what_kind_of_network_it_is_of(rows):
    assert {(row.kind, row.variant) for row in rows} == {("uncut", ""), ("bottleneck", "coded")}
    assert {(row.family, row.seed) for row in rows} == {(rows[0].family, 0)}
    assert rows[0].edge_share == 1.0
    assert 0.2 < rows[2].edge_share < 0.6


def test_what_is_written_can_be_drawn(rows, tmp_path):
    write_rows(rows, tmp_path)
    curves = read_curves(tmp_path / EVALUATED)
    (point,) = curves[0].splits["stage1"]
    auto = next(row for row in rows if row.codec == "auto" and row.exit_threshold is None)
    assert (point.nominal_bits, point.request_bytes) == (64, pytest.approx(auto.payload_bytes))
    assert point.reached.seeds == (pytest.approx(auto.accuracy),)
    assert point.drop == pytest.approx(auto.drop_points, abs=1e-3)
    assert [one.title for one in curves] == ["digits, resnet18", "digits, resnet18 int8"]


def test_the_table_is_written_whole(rows, tmp_path):
    paths = write_rows(rows, tmp_path)
    with paths[0].open(newline="") as file:
        read = list(csv.DictReader(file))
    assert len(read) == len(rows)
    assert float(read[2]["payload_bytes"]) == rows[2].payload_bytes
    headers, cells = table(rows)
    assert all(len(line) == len(headers) for line in cells)
    assert paths[1].read_text().count("\n") == len(rows) + 2


def test_exits_of_ones_own_take_the_place_of_a_calibrated_one(trained, rows):
    told = evaluate(*trained, None, 2.0, exits=(0.05, 0.9))
    assert [row.exit_threshold for row in told] == [None, 0.05, 0.9] * 3
    assert told[0] == rows[0]
    assert told[3] == rows[2]
    early, late, whole = told[4], told[5], told[3]
    assert early.mean_exit_timestep == 1, "the likeliest of ten classes has a tenth at least"
    assert 1 < late.mean_exit_timestep <= whole.mean_exit_timestep == 2
    assert early.payload_bytes < whole.payload_bytes
