"""What an experiment file may say, and how plainly it is told what it may not."""

import re
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from testbed.config import Strict
from testbed.errors import ExperimentError
from testbed.experiment import Experiment, label, load_experiment
from testbed.experiment.exits import Confidence
from testbed.snn.recipe import Recipe, load_recipe

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


BUGGY = """\
name: small
models:
  plain: {recipe: train/a.yaml, variant: plain}
nodes: {edge: e.yaml, cloud: c.yaml}
cells:
  - mode: co_inference
    model: plain
    codec: packed
    exit:
      threshold:
        - 0.8
        - 0.85
        - 1.9
  - mode: edge_only
    modle: plain
  - mode: edge_only
    model: plain
    exit: {threshold: 1e1}
"""


def lines_of(write, text: str, *overrides: str) -> list[str]:
    path = write(text)
    with pytest.raises(ExperimentError) as caught:
        load_experiment(path, overrides)
    return [line.removeprefix(f"{path}:") for line in str(caught.value).splitlines()]


def test_each_mistake_around_a_sweep_is_said_once_at_its_own_line(write):
    assert lines_of(write, BUGGY) == [
        "13: cells.0.exit.threshold.2: Input should be less than or equal to 1 (found 1.9)",
        "14: cells.1.model: is missing",
        "15: cells.1.modle: unknown key",
        "18: cells.2.exit.threshold: Input should be less than or equal to 1 (found 10)",
    ]


@given(
    sweeps=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    data=st.data(),
)
def test_a_typo_is_found_at_its_own_line_wherever_sweeps_stand(sweeps, data, tmp_path_factory):
    lines = GOOD[: GOOD.index("  - {mode")].splitlines()
    wrong = data.draw(st.integers(0, len(sweeps) - 1))
    for position, count in enumerate(sweeps):
        values = ", ".join(f"0.{position}{index}" for index in range(1, count + 1))
        lines += [
            "  - mode: co_inference",
            "    model: plain",
            f"    {'codek' if position == wrong else 'codec'}: packed",
            f"    exit: {{threshold: [{values}]}}",
        ]
    path = tmp_path_factory.getbasetemp() / "swept.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(ExperimentError) as caught:
        load_experiment(path)
    number = next(number for number, line in enumerate(lines, 1) if "codek" in line)
    assert str(caught.value) == f"{path}:{number}: cells.{wrong}.codek: unknown key"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("repeats=0", "repeats: Input should be greater than or equal to 1 (found 0)"),
        ("repeats=true", "repeats: expected a number (found True)"),
        ("repeat=2", "repeat: unknown key"),
        ("scenario={requests: 0}", "scenario.requests: Input should be greater than or equal to 1 (found 0)"),
        (
            "cells.1.exit.threshold=[0.5, 2]",
            "cells.1.exit.threshold.1: Input should be less than or equal to 1 (found 2)",
        ),
        ("cells.-1.codec=zip", "cells.1.codec: expected float32, "),
        ("cells.0.codec=packed", "cells.0: a codec belongs to co_inference, not to edge_only"),
        (
            "models={plan: {recipe: a.yaml, variant: b}}",
            "cells.0.model: cell edge_only names model 'plain'; models has plan",
        ),
        ("models.plain={recipe: a.yaml}", "models.plain.variant: is missing"),
        ("name=2026-02-30", "`2026-02-30` is not a value: day is out of range for month"),
        ("repeats=" + "9" * 5000, "a number of 5000 characters"),
        ("idle_s=.nan", "idle_s: Input should be a finite number (found nan)"),
        ("idle_s=1e999", "idle_s: Input should be a finite number (found inf)"),
        ("name.x=1", "no place in the file for this key"),
        ("cells.7.mode=edge_only", "no place in the file for this key"),
        ("title=&a [*a]", "anchors and aliases are not read here"),
    ],
)
def test_a_wrong_override_is_blamed_on_set(write, override, message):
    (line, *more) = lines_of(write, GOOD, "scenario.requests=7", override)
    assert line.startswith(f"--set {override}"[:99])
    assert message in line
    assert all(other.startswith("--set ") for other in more)
    assert len(line) < 300


def test_a_mistake_of_the_file_is_not_blamed_on_set(write):
    text = GOOD.replace("name: small", "name: small\nrepeatz: 3")
    assert lines_of(write, text, "repeats=2") == ["2: repeatz: unknown key"]
    assert lines_of(write, text, "repeats=0") == [
        "--set repeats=0: repeats: Input should be greater than or equal to 1 (found 0)",
        "2: repeatz: unknown key",
    ]
    text = GOOD.replace("model: plain}\n  - mode", "model: plan}\n  - mode")
    assert lines_of(write, text, "repeats=2")[0].startswith("6: cells.0.model: ")


def test_a_mistake_of_the_file_stays_one_where_set_touches_its_block_or_uncovers_it(write):
    text = GOOD.replace("mode: edge_only,", "mode: edge_only, codec: packed,")
    assert lines_of(write, text, "cells.0.model=plain")[0].startswith("6: cells.0: a codec belongs to co_inference")
    text = GOOD.replace("name: small", "name: small\nrepeats: 0").replace(
        "model: plain}\n  - mode", "model: plan}\n  - mode"
    )
    assert lines_of(write, text, "repeats=2")[0].startswith("7: cells.0.model: ")


def test_a_position_from_the_end_of_a_list_is_the_same_place(write):
    first, second = lines_of(write, GOOD.replace("name: small", "name: small\nrepeatz: 3"), "cells.-1.codec=zip")
    assert "repeatz: unknown key" in first + second
    assert any(line.startswith("--set cells.-1.codec=zip: cells.1.codec: expected") for line in (first, second))


def test_overrides_leave_the_file_as_it_was_for_each_other(write):
    experiment = load_experiment(write(GOOD), ("repeats=3", "repeats=4", "cells.1.exit.threshold=[0.1, 0.2, 0.3]"))
    assert experiment.repeats == 4
    assert [cell.exit and cell.exit.threshold for cell in experiment.cells] == [None, 0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("repeats: 1001", "repeats: Input should be less than or equal to 1000 (found 1001)"),
        ("repeats: 1.5", "repeats: Input should be a valid integer"),
        ("repeats: yes", "repeats: expected a number (found True)"),
        ("repeats: 1e300", "repeats: "),
        ("repeats: " + "9" * 300, "repeats: "),
        ("scenario: {requests: 1000001}", "scenario.requests: Input should be less than or equal to 1000000"),
        ("scenario: {warmup: 10001}", "scenario.warmup: Input should be less than or equal to 10000"),
        ("scenario: {timeout_ms: 3600001}", "scenario.timeout_ms: Input should be less than or equal to 3600000"),
        ("idle_s: 3601", "idle_s: Input should be less than or equal to 3600"),
        ("idle_s: .inf", "idle_s: Input should be a finite number (found inf)"),
        ("deadlines: {silence_s: .nan}", "deadlines.silence_s: Input should be a finite number (found nan)"),
        ("deadlines: {silence_s: 1e9}", "deadlines.silence_s: Input should be less than or equal to 3600"),
        ("seed: -1", "seed: Input should be greater than or equal to 0"),
        ("seed: 4294967296", "seed: Input should be less than or equal to 4294967295"),
        ("title: " + "x" * 201, "title: String should have at most 200 characters"),
    ],
)
def test_a_number_out_of_its_bounds_is_refused_where_it_stands(write, line, message):
    (said,) = lines_of(write, GOOD.replace("name: small", f"name: small\n{line}"))
    assert said.startswith(f"2: {message}")
    assert len(said) < 200


def test_a_name_too_long_for_a_folder_is_refused(write):
    (said,) = lines_of(write, GOOD.replace("name: small", "name: " + "x" * 65))
    assert said.startswith("1: name: String should have at most 64 characters")


def test_a_sweep_over_nothing_or_over_too_much_is_refused(write):
    assert lines_of(write, GOOD.replace("[0.8, 0.9]", "[]"))[0].startswith("10: cells.1.exit.threshold: ")
    many = str([round(0.5 + index / 10_000, 4) for index in range(2000)])
    assert lines_of(write, GOOD.replace("[0.8, 0.9]", many)) == [
        "5: cells: Tuple should have at most 1000 items after validation, not 1001"
    ]


def test_a_file_full_of_mistakes_lists_some_and_counts_the_rest(write):
    said = lines_of(write, GOOD + "".join(f"key{index}: 1\n" for index in range(50)))
    assert len(said) == 21
    assert said[-1].endswith("30 more mistakes")


def test_a_key_with_a_line_break_in_it_stays_on_one_line(write):
    (said,) = lines_of(write, GOOD + '"a\\nb": 1\n')
    assert said == "11: a\\nb: unknown key"


def unbounded(annotation, metadata, place):
    """Numbers of a pydantic annotation that have no least or no most."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        flat = [each for one in more for each in (one.metadata if isinstance(one, FieldInfo) else [one])]
        yield from unbounded(inner, [*metadata, *flat], place)
    elif annotation in (int, float):
        least = any(hasattr(one, "ge") or hasattr(one, "gt") for one in metadata)
        most = any(hasattr(one, "le") or hasattr(one, "lt") for one in metadata)
        if not (least and most):
            yield place
    elif get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from unbounded(part, metadata, place)
        if isinstance(annotation, type) and issubclass(annotation, Strict):
            for name, field in annotation.model_fields.items():
                yield from unbounded(field.annotation, field.metadata, f"{place}.{name}")


@pytest.mark.parametrize("document", [Experiment, Recipe])
def test_every_number_of_a_file_has_a_least_and_a_most(document):
    assert list(unbounded(document, [], document.__name__)) == []
    assert list(unbounded(int, [], "x")) == ["x"]


def bounds_of(path: str) -> tuple[set[float], set[float]]:
    """The least and most that the schema gives a dotted key."""
    annotation, metadata = Experiment, []
    for name in path.split("."):
        metadata = []
        if name not in ("N", "NAME"):
            blocks = [one for one in leaves(annotation) if issubclass(one, Strict)]
            field = next(block.model_fields[name] for block in blocks if name in block.model_fields)
            annotation, metadata = field.annotation, list(field.metadata)
    if "threshold" in path:
        metadata = [each for one in get_args(Confidence) if isinstance(one, FieldInfo) for each in one.metadata]
    return (
        {getattr(one, key) for one in metadata for key in ("ge", "gt") if hasattr(one, key)},
        {getattr(one, key) for one in metadata for key in ("le", "lt") if hasattr(one, key)},
    )


def leaves(annotation):
    """The plain types inside an annotation."""
    if isinstance(annotation, type) and not get_args(annotation):
        return [annotation]
    return [leaf for part in get_args(annotation) for leaf in leaves(part)]


def test_the_page_of_an_experiments_keys_has_their_bounds():
    rows = re.findall(
        r"^\| `([\w.]+)` \|[^|]*\| (above )?([\d.]+),? to ([\d.]+) \|",
        (Path(__file__).parents[3] / "docs" / "experiments.md").read_text(),
        re.MULTILINE,
    )
    assert {path: bounds_of(path) for path, *_ in rows} == {
        path: ({float(least)}, {float(most)}) for path, _, least, most in rows
    }
    assert len(rows) == 12
