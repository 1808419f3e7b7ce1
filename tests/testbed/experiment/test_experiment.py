"""What an experiment file may say, and how plainly it is told what it may not."""

from pathlib import Path

import pytest

from testbed.errors import ExperimentError
from testbed.experiment import label, load_experiment
from testbed.snn.recipe import load_recipe

GOOD = """\
name: small
models:
  plain: {recipe: train/a.yaml, variant: plain}
nodes: {edge: ../devices/edge.yaml, cloud: /abs/cloud.yaml}
cells:
  - {mode: edge_only, model: plain}
  - mode: co_inference
    model: plain
    codec: packed
    exit: {threshold: [0.8, 0.9]}
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "experiments" / "small.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_paths_are_relative_to_the_file_and_a_list_of_thresholds_is_a_sweep(write, tmp_path):
    experiment = load_experiment(write(GOOD))
    assert experiment.nodes.edge == tmp_path / "devices" / "edge.yaml"
    assert experiment.nodes.cloud == Path("/abs/cloud.yaml")
    assert experiment.models["plain"].recipe == tmp_path / "experiments" / "train" / "a.yaml"
    assert [cell.exit and cell.exit.threshold for cell in experiment.cells] == [None, 0.8, 0.9]
    assert label(experiment.cells[2], 2048) == "co-inference 2048x packed, exit 0.9"


def exits_of(write, text: str):
    experiment = load_experiment(write(GOOD.replace("{threshold: [0.8, 0.9]}", text)))
    return [(cell.exit, label(cell, 2048)) for cell in experiment.cells if cell.exit is not None]


def test_an_exit_may_have_a_threshold_for_each_timestep(write):
    ((rule, name),) = exits_of(write, "{policy: margin, accumulate: sum, thresholds: [0.99, 0.9, 0.8]}")
    assert rule.at(4) == [0.99, 0.9, 0.8]
    assert name == "co-inference 2048x packed, exit margin 0.99/0.9/0.8 on sums"
    for timesteps in (3, 5):
        with pytest.raises(
            ExperimentError, match=rf"3 exit thresholds for a model of T={timesteps} .* give {timesteps - 1},"
        ):
            rule.at(timesteps)


def test_one_threshold_stands_for_every_timestep_but_the_last(write):
    ((rule, _),) = exits_of(write, "{threshold: 0.8}")
    assert rule.at(4) == [0.8, 0.8, 0.8]
    assert rule.at(1) == []


def test_an_exit_may_be_calibrated_and_a_list_of_drops_is_a_sweep(write):
    rules = exits_of(write, "{calibrate: {drop: [0.5, 2], policy: entropy, per_timestep: true}}")
    assert [(rule.calibrate.drop, rule.calibrate.policy) for rule, _ in rules] == [(0.5, "entropy"), (2, "entropy")]
    assert rules[0][1] == "co-inference 2048x packed, exit entropy at drop 0.5 per timestep"


def test_set_overrides_one_key_and_checks_it(write):
    path = write(GOOD)
    assert load_experiment(path, ("repeats=2", "scenario.requests=7")).scenario.requests == 7
    with pytest.raises(ExperimentError, match=r"repeats: .*greater than or equal to 1"):
        load_experiment(path, ("repeats=0",))
    with pytest.raises(ExperimentError, match="expected KEY=VALUE"):
        load_experiment(path, ("repeats",))
    with pytest.raises(ExperimentError, match="unknown key"):
        load_experiment(path, ("repeat=2",))


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("name: small", "name: small\nrepeatz: 3", 2, "repeatz: unknown key"),
        ("name: small", "name: models", 1, "name: results/models is not for an experiment; choose another name"),
        (
            "mode: edge_only",
            "mode: fog_only",
            6,
            r"mode: expected edge_only, cloud_only or co_inference \(found 'fog_only'\)",
        ),
        ("codec: packed", "codec: zip", 9, r"codec: expected float32, packed, .* or auto \(found 'zip'\)"),
        (
            "mode: edge_only, model: plain",
            "mode: cloud_only, model: plain, exit: {threshold: 0.9}",
            6,
            "nothing to exit",
        ),
        ("name: small", "name: small\nrepeats: many", 2, "repeats: .*valid integer"),
        ("name: small", "name: small\nname: again", 2, "name"),
        ("model: plain}\n  - mode", "model: plan}\n  - mode", 6, "names model 'plan'"),
        ("    codec: packed\n", "", 7, "needs a codec"),
        ("threshold: [0.8, 0.9]", "threshold: 1.5", 10, "less than or equal to 1"),
        ("{threshold: [0.8, 0.9]}", "{}", 10, "an exit needs one of threshold, thresholds and calibrate"),
        ("{threshold: [0.8, 0.9]}", "{threshold: 0.8, thresholds: [0.9]}", 10, "an exit needs one of threshold"),
        ("threshold: [0.8, 0.9]", "thresholds: [0.8, 1.5]", 10, "less than or equal to 1"),
        ("{threshold: [0.8, 0.9]}", "{policy: margin, calibrate: {drop: 1}}", 10, "policy: write it inside calibrate"),
        ("{threshold: [0.8, 0.9]}", "{calibrate: {drop: -1}}", 10, "greater than or equal to 0"),
        ("mode: edge_only, model: plain", "mode: edge_only, model: plain, codec: packed", 6, "belongs to co_inference"),
        ("[0.8, 0.9]", "[0.8, 0.8]", 7, "two cells are the same"),
        ("threshold: [0.8, 0.9]", "threshold: [0.8, 1.5]", 10, "less than or equal to 1"),
    ],
)
def test_what_cannot_be_run_is_said_with_file_and_line(write, old, new, line, message):
    assert old in GOOD
    path = write(GOOD.replace(old, new))
    with pytest.raises(ExperimentError, match=message) as caught:
        load_experiment(path)
    assert f"small.yaml:{line}: " in str(caught.value)


def test_a_cell_that_comes_after_a_sweep_is_found_on_its_own_line(write):
    path = write(f"{GOOD}  - mode: cloud_only\n    model: plan\n")
    with pytest.raises(ExperimentError, match="names model 'plan'") as caught:
        load_experiment(path)
    assert "small.yaml:12: cells.2.model: " in str(caught.value)


def test_what_is_wrong_with_a_swept_cell_is_said_once(write):
    with pytest.raises(ExperimentError) as caught:
        load_experiment(write(GOOD.replace("    codec: packed\n", "    codek: packed\n")))
    assert str(caught.value).count("unknown key") == 1


def test_the_experiments_that_ship_can_be_read():
    for path in (Path(__file__).parents[3] / "experiments").glob("*.yaml"):
        experiment = load_experiment(path)
        assert experiment.nodes.edge.exists()
        assert all(model.variant in load_recipe(model.recipe).variants for model in experiment.models.values())
