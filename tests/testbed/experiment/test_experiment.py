"""What an experiment file may say, and how plainly it is told what it may not."""

from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from testbed.config import Strict
from testbed.errors import ExperimentError
from testbed.experiment import Experiment, label, load_experiment
from testbed.experiment.links import resolve
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


def test_plug_ins_are_files_seen_from_the_experiment_s_folder_and_there_for_it_alone(write, tmp_path):
    (tmp_path / "lab.py").write_text('ADDS = {"exit_policies": {"mine": max}}\n')
    asking = GOOD.replace("{threshold: [0.8, 0.9]}", "{policy: mine, threshold: 0.9}")
    with pytest.raises(
        ExperimentError, match=r"small\.yaml:10: cells\.1\.exit\.policy: expected max_softmax, entropy or"
    ):
        load_experiment(write(asking))
    experiment = load_experiment(write(f"plugins: [../lab.py]\n{asking}"))
    assert experiment.plugins == (tmp_path / "experiments" / ".." / "lab.py",)
    with pytest.raises(ExperimentError, match="found 'mine'"):
        load_experiment(write(asking))


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, r"lab\.py: cannot be read: No such file"), ("\nx = 1 +\n", r"lab\.py:2: cannot be loaded: SyntaxError")],
)
def test_a_plug_in_that_does_not_load_is_named_with_its_line_and_the_experiment_s(write, tmp_path, text, said):
    if text is not None:
        (tmp_path / "experiments").mkdir()
        (tmp_path / "experiments" / "lab.py").write_text(text)
    with pytest.raises(ExperimentError, match=rf"small\.yaml:2: plugins: .*{said}"):
        load_experiment(write(GOOD.replace("models:", "plugins: [lab.py]\nmodels:")))


def test_a_baseline_may_be_measured_again_as_a_cell_that_nothing_is_compared_with(write):
    twice = "{mode: edge_only, model: plain}\n  - {mode: edge_only, model: plain, again: true}"
    first, second = load_experiment(write(GOOD.replace("{mode: edge_only, model: plain}", twice))).cells[:2]
    assert (first.baseline, second.baseline) == (True, False)
    assert label(second, 32) == "edge-only, again"


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


def test_a_cell_may_fall_back_on_its_edge_and_says_so_in_its_name(write):
    experiment = load_experiment(write(GOOD.replace("codec: packed", "codec: packed\n    fallback: edge_only")))
    assert [cell.fallback for cell in experiment.cells] == [None, "edge_only", "edge_only"]
    assert label(experiment.cells[1], 2048) == "co-inference 2048x packed, exit 0.8, fallback edge-only"


LINKED = GOOD.replace("cells:", "link: wifi\ncells:").replace("{threshold: [0.8, 0.9]}", "{threshold: 0.9}")


def links_of(write, text: str):
    return [cell.link for cell in load_experiment(write(text)).cells]


def test_an_experiments_link_is_that_of_the_cells_that_ask_a_cloud(write):
    assert links_of(write, LINKED) == [None, "wifi"]
    assert links_of(write, LINKED.replace("codec:", "link: lte\n    codec:")) == [None, "lte"]
    assert links_of(write, LINKED.replace("codec:", "link: none\n    codec:")) == [None, None]


def test_a_list_of_links_is_a_sweep_and_so_are_the_figures_of_one_that_is_varied(write):
    swept = LINKED.replace("codec:", "link: [wifi, ./my.yaml]\n    codec:")
    assert links_of(write, swept) == [None, "wifi", "./my.yaml"]
    varied = LINKED.replace("codec:", "link: {like: wifi, mbit_s: [1, 10], rtt_ms: 20}\n    codec:")
    found = [link for link in links_of(write, varied) if link is not None]
    assert [(link.like, link.mbit_s, link.rtt_ms) for link in found] == [("wifi", 1, 20), ("wifi", 10, 20)]
    link = resolve(found[0], Path())
    assert link.name == "wifi 1 Mbit/s 20 ms"
    assert (link.up.delay_ms, link.down.delay_ms, link.up.jitter_ms) == (10, 10, 0)
    assert link.up.capacity.mean_bytes_per_s == 125_000
    assert link.up.loss == resolve("wifi", Path()).up.loss


def test_a_link_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(ExperimentError, match=r"no link named `wfi`.*wifi"):
        resolve("wfi", Path())


def test_faults_stand_in_a_cells_name(write):
    faults = "faults: [{fault: link_down, at_s: 1, for_s: 1}, {fault: cloud_killed, at_request: 4, for_s: 1}]"
    experiment = load_experiment(write(LINKED.replace("codec:", f"{faults}\n    codec:")))
    assert label(experiment.cells[1], 2048, "wifi") == (
        "co-inference 2048x packed, exit 0.9, wifi, link down and cloud killed"
    )


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("{mode: edge_only, model: plain, link: wifi}", "edge_only uses no link"),
        ("{mode: edge_only, model: plain, faults: [{fault: link_down, at_s: 1, for_s: 1}]}", "edge_only has no cloud"),
        ("{mode: cloud_only, model: plain, faults: [{fault: link_down, at_s: 1, for_s: 1}]}", "needs a link"),
        ("{mode: cloud_only, model: plain, faults: [{fault: cloud_killed, for_s: 1}]}", "one of at_s and at_request"),
        (
            "{mode: cloud_only, model: plain, link: wifi, faults: [{fault: link_rate, at_s: 1, for_s: 1}]}",
            "factor belongs to link_rate, and link_rate needs it",
        ),
        (
            "{mode: cloud_only, model: plain, faults: [{fault: cloud_killed, at_s: 1, for_s: 1, add_ms: 3}]}",
            "add_ms belongs to link_delay",
        ),
    ],
)
def test_links_and_faults_that_make_no_sense_are_refused_on_their_line(write, cell: str, words: str):
    with pytest.raises(ExperimentError, match=rf"small\.yaml:6.*{words}"):
        load_experiment(write(GOOD.replace("{mode: edge_only, model: plain}", cell)))


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
        (
            "codec: packed",
            "codec: packed\n    fallback: cloud_only",
            10,
            "fallback: expected edge_only, which needs no cloud",
        ),
        (
            "mode: edge_only, model: plain",
            "mode: edge_only, model: plain, fallback: edge_only",
            6,
            "edge_only asks no cloud, so there is nothing to fall back from",
        ),
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
        ("model: plain}", "model: plain, again: true}", 6, "none like it is there"),
        ("    codec: packed\n", "    codec: packed\n    again: true\n", 7, "again: true is for the baseline alone"),
        ("threshold: [0.8, 0.9]", "threshold: [0.8, 1.5]", 10, "less than or equal to 1"),
        ("    codec: packed\n", "    codec: packed\n    window: 0\n", 10, "window: .* greater than or equal to 1"),
        ("mode: edge_only, model: plain", "mode: edge_only, model: plain, window: 2", 6, "it takes no window"),
        ("mode: edge_only, model: plain", "mode: edge_only, model: plain, schedule: auto", 6, "no schedule to choose"),
        ("    codec: packed\n", "    codec: packed\n    schedule: fast\n", 10, "schedule: .*'auto'"),
        ("    codec: packed\n", "    codec: packed\n    schedule: auto\n    window: 2\n", 7, "leave them out"),
        ("mode: edge_only, model: plain", "mode: cloud_only, model: plain, window: 2", 6, "it takes no window"),
        (
            "mode: edge_only, model: plain",
            "mode: edge_only, model: plain, chunks: [4]",
            6,
            "this edge_only cell has none",
        ),
        ("mode: edge_only, model: plain", "mode: cloud_only, model: plain, chunks: [4]", 6, "cloud_only cell has none"),
        (
            "    codec: packed\n",
            "    codec: packed\n    chunks: [0, 4]\n",
            10,
            "chunks.0: .* greater than or equal to 1",
        ),
        ("    codec: packed\n", "    codec: packed\n    chunks: []\n", 10, "chunks: .*at least 1"),
    ],
)
def test_what_cannot_be_run_is_said_with_file_and_line(write, old, new, line, message):
    assert old in GOOD
    path = write(GOOD.replace(old, new))
    with pytest.raises(ExperimentError, match=message) as caught:
        load_experiment(path)
    assert f"small.yaml:{line}: " in str(caught.value)


@pytest.fixture
def recipe(tmp_path: Path) -> None:
    """The recipe that is named, of T=4."""
    folder = tmp_path / "experiments" / "train"
    folder.mkdir(parents=True)
    shipped = Path(__file__).parents[3] / "experiments" / "train" / "digits-resnet18.yaml"
    (folder / "a.yaml").write_text(shipped.read_text())


@pytest.mark.usefixtures("recipe")
def test_a_window_is_at_most_as_long_as_the_model_has_timesteps(write):
    def windows(text: str, *overrides: str):
        return [cell.window for cell in load_experiment(write(text), overrides).cells]

    swept = GOOD.replace("{threshold: [0.8, 0.9]}", "{threshold: 0.9}\n    window: [1, 2, 4]")
    assert windows(swept) == [1, 1, 2, 4]
    assert windows(f"{GOOD}sweep: {{grid: {{window: [1, 4]}}}}\n") == [1, 1, 4, 1, 4]
    assert windows(GOOD, "cells.1.window=3") == [1, 3, 3]
    assert lines_of(write, swept.replace("4]", "5]")) == [
        "11: cells.1.window.2: a window of 5 timesteps, but plain has T=4"
    ]
    assert lines_of(write, GOOD, "cells.1.window=6") == [
        "--set cells.1.window=6: cells.1.window: a window of 6 timesteps, but plain has T=4"
    ]


@pytest.mark.usefixtures("recipe")
def test_chunks_add_up_to_the_models_timesteps(write):
    def chunks(text: str, *overrides: str):
        return [cell.chunks for cell in load_experiment(write(text), overrides).cells]

    plain = GOOD.replace("{threshold: [0.8, 0.9]}", "{threshold: 0.9}")
    swept = f"{plain}    sweep: {{grid: {{chunks: [null, [1, 3], [2, 2]]}}}}\n"
    assert chunks(swept) == [None, None, (1, 3), (2, 2)]
    assert chunks(plain, "cells.1.chunks=[4]") == [None, (4,)]
    exits = plain.replace("mode: edge_only, model: plain", "mode: edge_only, model: plain, exit: {threshold: 0.9}")
    every = "sweep: {grid: {chunks: [[1, 3], [4]], window: [1, 4]}}\n"
    assert chunks(exits + every) == [(1, 3), (4,), (1, 3), (1, 3), (4,), (4,)]
    assert chunks(plain + every)[0] is None  # the baseline has no exit, and stays as it is
    cells = load_experiment(write(swept)).cells
    assert label(cells[2], 2048) == "co-inference 2048x packed, exit 0.9, chunks 1+3"
    assert lines_of(write, swept.replace("[2, 2]", "[2, 3]")) == [
        "11: cells.1.sweep.grid.chunks.2: chunks must add up to the T=4 timesteps of plain, and 2+3 = 5"
    ]
    assert lines_of(write, plain, "cells.1.chunks=[1, 1]") == [
        "--set cells.1.chunks=[1, 1]: cells.1.chunks: chunks must add up to the T=4 timesteps of plain, and 1+1 = 2"
    ]


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
        for model in experiment.models.values():
            recipe = load_recipe(model.recipe)
            assert model.variant in recipe.variants if recipe.spiking else model.variant is None


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
        "15: cells.1.modle: unknown key; did you mean model?",
        "18: cells.2.exit.threshold: Input should be less than or equal to 1 (found 10)",
    ]


@settings(deadline=None)  # how long it takes says how busy the machine is
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
    assert str(caught.value) == f"{path}:{number}: cells.{wrong}.codek: unknown key; did you mean codec?"


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
        ("models.plain={variant: b}", "models.plain.recipe: is missing"),
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
        ("scenario: {deadline_ms: 0}", "scenario.deadline_ms: Input should be greater than or equal to 1"),
        (
            "scenario: {deadline_ms: 5001}",
            "scenario.deadline_ms: a deadline of 5001 ms is after timeout_ms (5000), when the link is given up",
        ),
        ("scenario: {kind: burst}", "scenario.kind: Input should be 'single_stream', 'server' or 'offline'"),
        (
            "scenario: {kind: server}",
            "scenario.target_qps: a server needs to know how many requests arrive in a second",
        ),
        ("scenario: {kind: server, target_qps: 0}", "scenario.target_qps: Input should be greater than 0"),
        ("scenario: {target_qps: 5}", "scenario.target_qps: requests of single_stream do not arrive at a rate"),
        (
            "scenario: {kind: offline, deadline_ms: 50}",
            "scenario.deadline_ms: offline, all requests are there at once and none is late",
        ),
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


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ("{kind: server}", "7: cells.0.scenario.target_qps: a server needs to know how many"),
        ("{target_qps: 5}", "7: cells.0.scenario.target_qps: requests of single_stream do not arrive at a rate"),
        ("{kind: offline, deadline_ms: 5}", "7: cells.0.scenario.deadline_ms: offline, all requests are there at once"),
        ("{deadline_ms: 6000}", "7: cells.0.scenario.deadline_ms: a deadline of 6000 ms is after timeout_ms (5000)"),
        ("{requests: 5}", "7: cells.0.scenario.requests: unknown key"),
    ],
)
def test_what_a_cell_says_of_its_requests_has_to_go_together(write, own, message):
    text = GOOD.replace(
        "{mode: edge_only, model: plain}", "\n    {mode: edge_only, model: plain, scenario: " + own + "}"
    )
    said = lines_of(write, text)[0]
    assert said.startswith(message), said


def test_a_cell_inherits_the_rate_as_a_server_and_the_deadline_unless_it_is_offline(write):
    shared = "name: small\nscenario: {kind: server, target_qps: 20, deadline_ms: 100}"
    cell = "{mode: edge_only, model: plain, scenario: {kind: [single_stream, server, offline]}}"
    text = GOOD.replace("name: small", shared).replace("{mode: edge_only, model: plain}", cell)
    found = [cell.scenario and cell.scenario.model_dump() for cell in load_experiment(write(text)).cells]
    assert found == [
        {"kind": "single_stream", "target_qps": None, "deadline_ms": 100},
        {"kind": "server", "target_qps": 20.0, "deadline_ms": 100},
        {"kind": "offline", "target_qps": None, "deadline_ms": None},
        {"kind": "server", "target_qps": 20.0, "deadline_ms": 100},
        {"kind": "server", "target_qps": 20.0, "deadline_ms": 100},
    ]


def test_a_name_too_long_for_a_folder_is_refused(write):
    (said,) = lines_of(write, GOOD.replace("name: small", "name: " + "x" * 65))
    assert said.startswith("1: name: String should have at most 64 characters")


@pytest.mark.parametrize("name", ["models", "bundles", "data", "reference"])
def test_a_name_that_results_has_for_something_else_is_refused(write, name: str):
    (said,) = lines_of(write, GOOD.replace("name: small", f"name: {name}"))
    assert said.startswith(f"1: name: results/{name} is not for an experiment")


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


@pytest.mark.parametrize(
    ("load", "shipped", "said"),
    [
        (
            load_experiment,
            "experiments/train/quickstart.yaml",
            "a recipe, which testbed train takes; expected an experiment",
        ),
        (load_experiment, "devices/host.yaml", "a device, which testbed check takes; expected an experiment"),
        (load_recipe, "experiments/quickstart.yaml", "an experiment, which testbed run takes; expected a recipe"),
    ],
)
def test_a_file_of_another_kind_is_one_line_that_names_the_verb_for_it(load, shipped: str, said: str):
    path = Path(__file__).parents[3] / shipped
    with pytest.raises(ExperimentError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: this is {said}"


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
