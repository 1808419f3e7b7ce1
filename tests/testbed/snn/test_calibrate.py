"""Calibration: from the validation samples alone, the same rule as on the edge, and kept."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from devices.base.plugins import use_files
from testbed.data.datasets import Dataset, Samples
from testbed.errors import ModelError
from testbed.experiment import CellSpec, ModelRef
from testbed.experiment.exitrule import resolve
from testbed.record.exits import accumulate, confidence, exit_timestep
from testbed.runtime.artefact import ModelCard, load_card, write_card
from testbed.snn import accuracy, artefact
from testbed.snn import calibrate as calibration
from testbed.snn.build import build
from testbed.snn.calibrate import Settings, calibrate, calibration_rows, exit_block, search
from testbed.snn.checkpoint import save_checkpoint
from testbed.snn.recipe import load_recipe
from testbed.snn.validation import DOCUMENT

T, CLASSES, SAMPLES = 4, 3, 300
RECIPE = {
    "name": "toy",
    "dataset": {"name": "digits", "image_size": 8, "channels": 1},
    "backbone": {"width": 4},
    "timesteps": T,
    "variants": {"coded": {"split": "stage1", "bottleneck": {"channels": 2, "stride": 2}}},
    "training": {"phases": [{"train": "backbone", "epochs": 1, "lr": 0.01}]},
    "checkpoint": "toy.safetensors",
}


class Untouchable:
    """Test samples that no calibration may look at."""

    def __getattribute__(self, name: str):
        raise AssertionError(f"the test set was touched: {name}")


def settings(drop: float, **changes) -> Settings:
    asked = {"network": "split", "policy": "max_softmax", "accumulate": "mean", "per_timestep": False}
    return Settings(**{**asked, "drop": drop, **changes})


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Logits of a network that needs its timesteps, and of a slightly better backbone."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, SAMPLES)
    evidence = np.eye(CLASSES)[labels] * 3 / rng.gamma(2, 1, (SAMPLES, 1))
    for name, noise in (("split", 2.0), ("full", 1.5)):
        logits = evidence + rng.normal(0, noise, (T, SAMPLES, CLASSES))
        np.save(tmp_path / f"{name}.npy", logits.astype(np.float32), allow_pickle=False)
    np.save(tmp_path / "labels.npy", labels, allow_pickle=False)
    document = {"dataset": "toy", "samples": SAMPLES, "sha256": "ab", "artefact": "cd"}
    (tmp_path / DOCUMENT).write_text(json.dumps(document))
    return tmp_path


@pytest.mark.parametrize("network", ["split", "full"])
@pytest.mark.parametrize("policy", ["max_softmax", "entropy", "margin"])
@pytest.mark.parametrize("how", ["mean", "sum"])
@pytest.mark.parametrize("per_timestep", [False, True])
def test_what_is_found_keeps_the_drop_under_the_rule_that_the_edge_applies(kept, network, policy, how, per_timestep):
    asked = settings(1.0, network=network, policy=policy, accumulate=how, per_timestep=per_timestep)
    found = search(kept, asked)
    logits, labels = np.load(kept / f"{network}.npy"), np.load(kept / "labels.npy")
    running = accumulate(logits, how)
    exits = exit_timestep(confidence(running, policy), found.rule.get("thresholds") or found.rule["threshold"])
    accuracy = float((running[exits - 1, np.arange(SAMPLES)].argmax(-1) == labels).mean())
    whole = float((running[-1].argmax(-1) == labels).mean())
    assert found.found.accuracy == pytest.approx(accuracy)
    assert found.whole.accuracy == pytest.approx(whole)
    assert 100 * (whole - accuracy) <= 1.0 + 1e-9
    assert found.found.drop.points == pytest.approx(100 * (whole - accuracy))
    assert found.found.mean_exit_timestep == pytest.approx(exits.mean())
    assert found.found.mean_exit_timestep < T
    assert found.found.exits == [int((exits == step).sum()) for step in range(1, T + 1)]
    assert (found.found.drop_backbone == found.found.drop) == (network == "full")


@pytest.mark.parametrize("per_timestep", [False, True])
def test_a_stricter_drop_never_gives_an_earlier_mean_exit(kept, per_timestep):
    drops = (0, 0.1, 0.34, 0.5, 1, 2, 5, 10, 50, 100)
    means = [search(kept, settings(drop, per_timestep=per_timestep)).found.mean_exit_timestep for drop in drops]
    assert means == sorted(means, reverse=True)
    assert means[-1] == 1


@pytest.mark.parametrize("drop", [0, 0.5, 1, 3])
def test_a_threshold_per_timestep_is_never_later(kept, drop):
    single, each = (search(kept, settings(drop, per_timestep=each)).found for each in (False, True))
    assert each.mean_exit_timestep <= single.mean_exit_timestep
    assert each.mean_exit_timestep < single.mean_exit_timestep or drop < 1


def test_a_drop_of_one_sample_is_one_sample(kept):
    """1 of 300 is 0.333… points; 0.7 points of 300 is 2.0999… in floating point."""
    for drop, losses in ((0.33, 0), (0.34, 1), (1.0, 3)):
        assert round(search(kept, settings(drop, per_timestep=True)).found.drop.points * SAMPLES / 100) <= losses
    assert search(kept, settings(0.34)).found.mean_exit_timestep < search(kept, settings(0.33)).found.mean_exit_timestep


def test_the_block_to_paste_is_an_exit_of_an_experiment(kept):
    for asked in (settings(1), settings(1, per_timestep=True, policy="margin", accumulate="sum")):
        found = search(kept, asked)
        block = yaml.safe_load(exit_block(found))
        cell = CellSpec.model_validate({"mode": "co_inference", "model": "a", "codec": "packed", **block})
        assert cell.exit is not None
        assert cell.exit.at(T) == found.thresholds
        assert (cell.exit.policy, cell.exit.accumulate) == (asked.policy, asked.accumulate)


def test_the_table_has_the_drop_with_its_interval_and_the_share_of_every_exit(kept):
    headers, (whole, found) = calibration_rows(search(kept, settings(1)))
    assert len(headers) == len(whole) == len(found)
    assert headers[-T:] == [f"exit at {step} [%]" for step in range(1, T + 1)]
    assert whole[-1] == "100.0"
    assert sum(float(share) for share in found[-T:]) == pytest.approx(100, abs=0.3)
    assert found[headers.index("drop [points]")].startswith("1.00 (-")


def test_saturated_sums_that_are_wrong_are_said_and_nothing_is_returned(kept):
    np.save(kept / "split.npy", np.load(kept / "split.npy") * 1e4)
    with pytest.raises(ModelError, match=r"even a threshold of 1 loses more of the 300 .* allow a larger drop"):
        search(kept, settings(0, accumulate="sum"))


def test_damaged_logits_are_one_error(kept):
    (kept / "split.npy").write_bytes((kept / "split.npy").read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"split\.npy: cannot be read: .*; delete .* to compute it again"):
        search(kept, settings(1))


def test_pickled_logits_are_not_loaded(kept):
    np.save(kept / "split.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ModelError, match="cannot be read: Object arrays"):
        search(kept, settings(1))


@pytest.fixture(params=["stills", "events"])
def lab(request, tmp_path: Path, monkeypatch) -> Path:
    """A recipe with weights and an artefact's card, and a data set whose test samples nobody may touch."""
    rng = np.random.default_rng(0)
    shape = (1, 8, 8) if request.param == "stills" else (T, 1, 8, 8)

    def samples(count: int) -> Samples:
        return Samples(rng.integers(0, 256, (count, *shape), dtype=np.uint8), rng.integers(0, 10, count))

    classes = tuple("0123456789")
    dataset = Dataset("toy", "made", classes, samples(40), samples(30), Untouchable())  # type: ignore[arg-type]
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    recipe = load_recipe(path)
    networks = build(recipe, dataset)
    for network in networks.values():  # neurons that fire, so that timesteps differ
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.constant_(module.bias, 0.6)
    save_checkpoint(networks, recipe, tmp_path / "toy.safetensors")
    folder = artefact.artefact_folder(tmp_path / "models", recipe, "coded")
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"stands for the step graphs, which calibration does not run")
    card = ModelCard(
        name="toy/coded",
        backbone="resnet18",
        width=4,
        dataset="toy",
        dataset_variant="made",
        timesteps=T,
        classes=list(classes),
        input_shape=list(shape[-3:]),
        static_input=request.param == "stills",
        bottleneck=True,
        accuracy_per_timestep={},
        trained={},
    )
    write_card(folder, card)
    monkeypatch.setattr(artefact, "load", lambda spec, data: dataset)
    return tmp_path


def run(lab: Path, asked: Settings):
    return calibrate(lab / "toy.yaml", "coded", lab / "models", None, asked)


def test_the_test_set_is_never_touched_and_nothing_is_computed_twice(lab, monkeypatch):
    with pytest.raises(AssertionError, match="the test set was touched"):
        _ = artefact.load(None, None).test.images
    first = run(lab, settings(2))
    assert first.validation.samples == 30
    assert first.found.drop.points <= 2

    monkeypatch.setattr(artefact, "load", None)  # a second look at the data would fail
    assert run(lab, settings(5, per_timestep=True)).validation == first.validation
    monkeypatch.setattr(calibration, "search", None)  # so would a second search
    assert run(lab, settings(2)) == first


def test_kept_logits_are_those_of_the_deployed_network(lab, monkeypatch):
    monkeypatch.setattr(accuracy, "BATCH", 8)  # the last one is smaller, and none begins where another ended
    run(lab, settings(2))
    (folder,) = (lab / "models" / "toy" / "coded.calibration").iterdir()
    networks, samples, _ = artefact.to_validate(lab / "toy.yaml", "coded", lab / "models", None)
    assert np.array_equal(np.load(folder / "labels.npy"), samples.labels)
    for name, network in networks.items():
        with torch.inference_mode():
            expected = network(torch.from_numpy(samples.images), T).numpy()
        assert np.array_equal(np.load(folder / f"{name}.npy"), expected)
        assert np.ptp(expected, axis=0).max() > 0  # timesteps differ, or this shows little


def test_other_weights_are_calibrated_anew(lab):
    first = run(lab, settings(2))
    folder = lab / "models" / "toy" / "coded"
    (folder / "weights.safetensors").write_bytes(b"others")
    write_card(folder, load_card(folder))
    second = run(lab, settings(2))
    assert second.validation.artefact != first.validation.artefact
    assert len(list((lab / "models" / "toy" / "coded.calibration").iterdir())) == 2


@pytest.mark.parametrize(("mode", "network"), [("edge_only", "full"), ("co_inference", "split")])
def test_an_experiment_gets_concrete_numbers_and_where_they_come_from(lab, mode, network):
    codec = {"codec": "packed"} if mode == "co_inference" else {}
    aim = {"calibrate": {"drop": 2, "per_timestep": True}}
    spec = CellSpec.model_validate({"mode": mode, "model": "a", "exit": aim, **codec})
    card = load_card(lab / "models" / "toy" / "coded")
    model = ModelRef(recipe=lab / "toy.yaml", variant="coded")
    rule = resolve(spec, model, lab / "models", None, card)
    assert rule is not None
    assert rule.config.thresholds == rule.document.thresholds
    assert len(rule.config.thresholds) == T - 1
    assert rule.document.threshold is None
    origin = rule.document.calibrated
    assert origin["settings"]["network"] == network
    assert origin["validation"]["samples"] == 30
    assert origin["validation"]["artefact"] == card.hash
    json.dumps(origin)  # as it goes into the manifest


def test_a_policy_of_a_file_is_calibrated_and_an_edit_of_it_calibrates_anew(lab):
    file, asked = lab / "lab.py", settings(0, policy="mine")
    found = []
    for power in (1, 8):
        file.write_text(
            "from testbed.record.exits import max_softmax\n\n"
            f"def mine(logits):\n    return max_softmax(logits) ** {power}\n\n"
            'ADDS = {"exit_policies": {"mine": mine}}\n'
        )
        use_files([file])
        try:
            found.append(run(lab, asked))
        finally:
            use_files([])
    assert found[0].found == found[1].found  # the same order of samples, at other thresholds
    assert found[1].thresholds != found[0].thresholds
