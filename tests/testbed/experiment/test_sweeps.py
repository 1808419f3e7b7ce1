"""One block of a file stands for many cells, and what is wrong with it is said once, where it stands."""

from pathlib import Path

import pytest

from testbed.errors import ExperimentError
from testbed.experiment import CellSpec, Experiment, baselines, load_experiment
from testbed.experiment.replays import Replay, measured_once
from testbed.experiment.sweeps import expand

HEAD = """\
name: small
models:
  r: {recipe: train/r.yaml, variant: plain}
  v: {recipe: train/v.yaml, variant: plain}
nodes: {edge: e.yaml, cloud: c.yaml}
link: wifi
"""
SPLIT = "{mode: co_inference, model: r, codec: packed"


@pytest.fixture
def load(tmp_path: Path):
    def load(text: str, *overrides: str) -> Experiment:
        path = tmp_path / "small.yaml"
        path.write_text(HEAD + text)
        return load_experiment(path, overrides)

    return load


@pytest.fixture
def said(load):
    """Each line of what is wrong, without the file's name."""

    def said(text: str, *overrides: str) -> list[str]:
        with pytest.raises(ExperimentError) as caught:
            load(text, *overrides)
        return [line.rpartition("small.yaml:")[2] for line in str(caught.value).splitlines()]

    return said


def what(cell: CellSpec) -> tuple[object, ...]:
    return cell.model, cell.codec, cell.exit and cell.exit.threshold, cell.link


def test_a_grid_is_every_combination_of_its_lists_and_is_the_same_as_lists_in_the_cell(load):
    grid = load("cells:\n  - " + SPLIT + ", sweep: {grid: {model: [r, v], exit: {threshold: [0.8, 0.9]}}}}")
    assert [what(cell) for cell in grid.cells] == [
        ("r", "packed", 0.8, "wifi"),
        ("r", "packed", 0.9, "wifi"),
        ("v", "packed", 0.8, "wifi"),
        ("v", "packed", 0.9, "wifi"),
    ]
    lists = load("cells:\n  - {mode: co_inference, model: [r, v], codec: packed, exit: {threshold: [0.8, 0.9]}}")
    assert lists.cells == grid.cells


def test_a_zip_goes_through_its_lists_together(load):
    zipped = load("cells:\n  - " + SPLIT + ", sweep: {zip: {codec: [sparse, entropy], link: [lte, none]}}}")
    assert [what(cell) for cell in zipped.cells] == [("r", "sparse", None, "lte"), ("r", "entropy", None, None)]


def test_a_list_lays_each_of_its_blocks_over_the_cell(load):
    blocks = "[{codec: sparse}, {exit: {policy: margin, threshold: 0.5}}, {exit: null, variant: deep}]"
    listed = load("cells:\n  - " + SPLIT + ", exit: {threshold: 0.9}, sweep: {list: " + blocks + "}}")
    assert [what(cell) for cell in listed.cells] == [
        ("r", "sparse", 0.9, "wifi"),
        ("r", "packed", 0.5, "wifi"),
        ("r/deep", "packed", None, "wifi"),
    ]
    assert listed.models["r/deep"].variant == "deep"
    assert "v" not in listed.models  # no cell names it, so nobody has to train it


def test_a_sweep_of_the_experiment_touches_what_fits_a_cell_and_it_does_not_say_itself(load):
    sweep = "sweep: {grid: {model: [r, v], link: [wifi, lte], exit: {threshold: [0.8, 0.9]}}}\n"
    cells = "cells: [{mode: edge_only, exit: {threshold: 0.5}}, {mode: cloud_only, link: lte}]"
    assert [what(cell) for cell in load(sweep + cells).cells] == [
        ("r", None, 0.5, None),
        ("v", None, 0.5, None),
        ("r", None, None, "lte"),
        ("v", None, None, "lte"),
    ]


def test_what_exclude_matches_is_left_out_with_what_it_inherits(load):
    exclude = "exclude: [{codec: [packed, sparse], link: wifi}, {variant: deep, exit: {threshold: 0.8}}]\n"
    cell = "{mode: co_inference, model: r, variant: [plain, deep], codec: [packed, auto], exit: {threshold: 0.8}}"
    assert [what(one) for one in load(f"{exclude}cells: [{cell}]").cells] == [("r", "auto", 0.8, "wifi")]


@pytest.mark.parametrize(
    ("sweep", "line"),
    [
        ("5", "8: cells.0.sweep: a sweep needs grid, zip or list (found 5)"),
        ("{grib: {codec: [packed]}}", "8: cells.0.sweep.grib: unknown key"),
        ("{grid: {codec: packed}}", "8: cells.0.sweep.grid.codec: expected a list of values; one that stays the same"),
        ("{grid: {exit: {threshold: []}}}", "8: cells.0.sweep.grid.exit.threshold: expected a list of values"),
        ("{zip: {codec: [packed, auto], link: [lte]}}", "8: cells.0.sweep.zip: lists that go together need one length"),
        ("{list: [packed]}", "8: cells.0.sweep.list: expected a list of blocks"),
        ("{grid: {codek: [packed, auto, sparse]}}", "8: cells.0.sweep.grid.codek: unknown key"),
        ("{grid: {codec: [auto, zip], link: [wifi, lte]}}", "8: cells.0.sweep.grid.codec.1: expected float32, packed"),
        ("{grid: {model: [r, w], link: [wifi, lte]}}", "8: cells.0.sweep.grid.model.1: cell co_inference names model"),
        ("{list: [{exit: {threshold: 2}}]}", "8: cells.0.sweep.list.0.exit.threshold: Input should be less than"),
        ("{grid: {link: [wifi, 5]}}", "8: cells.0.sweep.grid.link.1: Input should be a valid string (found 5)"),
        ("{grid: {link: [{like: lte, loss: 2}]}}", "8: cells.0.sweep.grid.link.0.loss: Input should be less than 1"),
        ("{grid: {mode: [edge_only, co_inference]}}", "8: cells.0: a codec belongs to co_inference, not to edge_only"),
    ],
)
def test_what_is_wrong_with_a_sweep_is_said_once_at_its_line(said, sweep: str, line: str):
    (found,) = said(f"cells:\n  - {SPLIT}, sweep: {sweep}}}")
    assert found.startswith(line)


def test_what_is_wrong_with_a_sweep_of_the_experiment_stands_there(said):
    cells = "cells:\n  - {mode: co_inference, model: r}\n  - {mode: cloud_only, model: r}\n"
    (found,) = said(cells + "sweep:\n  grid:\n    codec: [packed, zip]\n")
    assert found.startswith("12: sweep.grid.codec.1: expected")
    (found,) = said(f"cells:\n  - {SPLIT}}}\nexclude:\n  - {{codek: packed}}\n")
    assert found == "10: exclude.0.codek: unknown key"


def test_what_set_puts_into_a_sweep_is_blamed_on_set(said, load):
    text = f"cells:\n  - {SPLIT}, sweep: {{grid: {{codec: [packed, auto]}}}}}}"
    assert [cell.codec for cell in load(text, "cells.0.sweep.grid.codec=[sparse]").cells] == ["sparse"]
    (found,) = said(text, "cells.0.sweep.grid.codec=[packed, zip]")
    assert found.startswith("--set cells.0.sweep.grid.codec=[packed, zip]: cells.0.sweep.grid.codec.1: expected")


def test_lists_that_multiply_to_millions_are_not_written_out():
    lists = {"model": ["r"] * 1000, "codec": ["packed"] * 1000, "link": ["wifi"] * 1000}
    cells = [{"mode": "co_inference", **lists}]
    assert len(expand({"cells": cells}).data["cells"]) == 1001
    assert len(expand({"cells": cells, "exclude": [{"codec": "packed"}]}).data["cells"]) == 1001  # not silently fewer


def missing(experiment: Experiment) -> list[CellSpec]:
    """The baselines that spiking networks lack."""
    return baselines.missing(experiment, {name: name for name in experiment.models})


def test_a_baseline_is_added_for_each_recipe_that_has_none(load):
    cells = f"cells: [{SPLIT}, variant: deep}}, {{mode: cloud_only, model: v}}, {{mode: edge_only, model: v}}]"
    (added,) = missing(load(cells))
    assert (added.mode, added.model, added.exit) == ("edge_only", "r/deep", None)
    assert missing(load("baselines: false\n" + cells)) == []
    with_exit = "cells: [{mode: edge_only, model: v, exit: {threshold: 0.9}}]"
    assert [cell.model for cell in missing(load(with_exit))] == ["v"]


def test_a_model_of_8_bits_is_compared_with_a_baseline_of_8_bits(load):
    eight = "models.q={recipe: train/r.yaml, variant: plain, weights: int8}"
    cells = (
        f"cells: [{{mode: edge_only, model: r}}, {SPLIT}}}, {SPLIT.replace('model: r', 'model: q')}, variant: deep}}]"
    )
    experiment = load(cells, eight)
    assert [cell.model for cell in missing(experiment)] == ["q/deep"]
    assert [experiment.models[name].weights for name in ("r", "q/deep")] == ["float", "int8"]


def test_exits_that_are_replayed_are_measured_once_without_exit(load):
    replayed = "exit: {threshold: [0.8, 0.9], replay: true}"
    cells = f"cells:\n  - {SPLIT}, {replayed}}}\n  - {{mode: edge_only, model: r}}\n"
    experiment, replays = measured_once(load(cells))
    assert [(cell.mode, cell.exit) for cell in experiment.cells] == [("co_inference", None), ("edge_only", None)]
    assert replays == [Replay(0, "max_softmax", "mean", [0.8, 0.9])]


def test_a_cell_without_exit_that_is_there_is_the_one_that_is_replayed(load):
    edge = "{mode: edge_only, model: r"
    margin = "exit: {policy: margin, thresholds: [0.5, 0.4, 0.3], replay: true}"
    first, second = f"{edge}, exit: {{threshold: 0.7, replay: true}}}}", f"{edge}, {margin}}}"
    cells = f"cells: [{first}, {second}, {edge}}}, {edge}, exit: {{threshold: 0.7}}}}]"
    experiment, replays = measured_once(load(cells))
    assert [cell.exit and cell.exit.threshold for cell in experiment.cells] == [None, 0.7]
    assert replays == [Replay(0, "max_softmax", "mean", [0.7]), Replay(0, "margin", "mean", [[0.5, 0.4, 0.3]])]


def test_a_calibrated_exit_is_not_replayed(said):
    (found,) = said(f"cells:\n  - {SPLIT}, exit: {{calibrate: {{drop: 1}}, replay: true}}}}")
    assert found == "8: cells.0.exit: replay: true takes threshold or thresholds; a calibrated exit is measured"


def rates(experiment: Experiment) -> list[tuple[str, str | None, float | None]]:
    return [
        (cell.mode, cell.scenario.kind, cell.scenario.target_qps)
        for cell in experiment.cells
        if cell.scenario is not None
    ]


def test_a_rate_that_is_swept_over_all_cells_touches_servers_alone(load):
    text = (
        "scenario: {kind: server, target_qps: 5}\nsweep: {grid: {scenario: {target_qps: [10, 20]}}}\n"
        "cells:\n  - {mode: edge_only, model: r}\n  - {mode: edge_only, model: r, scenario: {kind: offline}}\n"
    )
    assert rates(load(text)) == [
        ("edge_only", "server", 10.0),
        ("edge_only", "server", 20.0),
        ("edge_only", "offline", None),
    ]
    left = load(text + "exclude: [{scenario: {kind: server, target_qps: 20}}]\n")
    assert rates(left) == [("edge_only", "server", 10.0), ("edge_only", "offline", None)]


def test_each_way_that_requests_arrive_has_a_baseline_of_its_own(load):
    experiment = load(
        "scenario: {kind: server, target_qps: 5}\n"
        "cells:\n  - " + SPLIT + ", scenario: {target_qps: [5, 10]}}\n"
        "  - {mode: edge_only, model: r}\n  - " + SPLIT + ", scenario: {kind: single_stream}}\n"
    )
    added = missing(experiment)
    assert [(cell.mode, cell.scenario.kind, cell.scenario.target_qps) for cell in added] == [
        ("edge_only", "server", 10.0),
        ("edge_only", "single_stream", None),
    ]
