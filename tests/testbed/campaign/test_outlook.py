"""A plan says what a run would do, and computes nothing for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer

from testbed.campaign import durations, make_plan, outlook, plan
from testbed.campaign.bundles import bundle_folder
from testbed.campaign.outlook import Outlook, look_ahead
from testbed.cli.plan import plan as plan_verb
from testbed.record.layout import ResultsFolder
from testbed.runtime.bundle import write_bundle
from testbed.snn import artefact
from tests.made import cells, records

ROOT = Path(__file__).parents[3]
QUICKSTART = ROOT / "experiments" / "quickstart.yaml"
RECIPE = ROOT / "experiments" / "train" / "quickstart.yaml"
ONE = (
    "cells=[{mode: edge_only, model: coded}, {mode: co_inference, model: coded, codec: packed, exit: {threshold: 0.8}}]"
)
SIZE = ("repeats=3", "scenario={requests: 180, warmup: 10}", "idle_s=0.5")


def test_a_plan_of_an_empty_folder_says_what_is_missing_and_makes_none_of_it(tmp_path: Path) -> None:
    script = (
        "import sys; from testbed.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code, [m for m in ('torch', 'sklearn', 'lightning') if m in sys.modules])"
    )
    arguments = ["plan", str(QUICKSTART), "--results", str(tmp_path / "none"), "--json"]
    said = subprocess.check_output([sys.executable, "-c", script, *arguments], text=True, cwd=ROOT)

    document, _, ended = said.rpartition("}\n")
    assert ended == "0 []\n"
    (told,) = json.loads(document + "}")["plans"]
    assert {cell["cell"] for cell in told["cells"]} == {None}
    assert {cell["unknown_before"] for cell in told["cells"]} == {"its model is exported"}
    assert {cell["added"] for cell in told["cells"]} == {False}
    assert {lack["by"] for lack in told["missing"]} == {"testbed run"}
    every = told["repeats"]
    assert every >= len(told["cells"])
    assert (told["repeats"], told["repeats_to_measure"], told["repeats_to_measure_is_sure"]) == (every, every, True)
    assert told["seconds_left_from"] == {"a guess": every}
    assert told["seconds_left"] > sum(3 * cell["repeat_s"] for cell in told["cells"])
    assert told["command"] == f"testbed run {QUICKSTART} --results {tmp_path / 'none'}"
    assert not (tmp_path / "none").exists()


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder whose models and bundle are there."""
    monkeypatch.setattr(artefact, "standing", lambda recipe, variant, models, weights: (models / variant, "ready"))
    monkeypatch.setattr(artefact, "ensure", lambda recipe, variant, models, data, weights: models / variant)
    for module in (plan, outlook):
        monkeypatch.setattr(module, "load_card", lambda folder: records.model(name=folder.name, hash=folder.name))
    folder = bundle_folder(RECIPE, ResultsFolder(tmp_path).bundles, None)
    images, labels = np.zeros((7, 1, 8, 8), np.uint8), np.zeros(7, np.int64)
    words = {"dataset": "digits", "variant": "tiny", "split": "test", "seed": 0, "classes": ["0", "1"]}
    write_bundle(folder, images, labels, **words)
    return tmp_path


@pytest.fixture
def ahead(exported: Path) -> Callable[..., Outlook]:
    return lambda *overrides: look_ahead(QUICKSTART, exported, overrides=(ONE, *SIZE, *overrides))


def test_the_cells_that_a_plan_names_are_those_that_a_run_measures(ahead, exported: Path) -> None:
    told = [(cell.cell, cell.label) for cell in ahead().cells]
    assert told == [(cell.cell, cell.label) for cell in make_plan(QUICKSTART, exported, overrides=(ONE, *SIZE)).cells]
    assert ahead().missing == []


def test_what_is_measured_counts_for_one_command_and_times_it(ahead) -> None:
    first, second = (cell.cell for cell in ahead().cells)
    folder = cells.begun(ahead().folder.path / first, repeats=3, cell=first)
    for repeat in range(2):
        cells.measured(folder, repeat, seconds=8.0)

    told = ahead()
    assert [cell.done for cell in told.cells] == [2, 0]
    assert (told.to_do, told.of, told.sure, told.others) == (4, 6, True, 0)
    assert told.bases() == {"this cell": 1, "a guess": 3}
    assert told.seconds == pytest.approx(8.0 + 3 * told.cells[1].repeat.seconds)
    changed = ahead("seed=1")
    assert (changed.to_do, changed.others) == (6, 1)
    assert second not in [cell.cell for cell in changed.cells]


def test_a_plan_says_that_an_emulated_node_may_have_to_compute_first(exported: Path, capsys) -> None:
    on_top = "On top comes what emulated nodes compute ahead and have not kept: "
    settings = {"overrides": [ONE, *SIZE], "results": exported}
    plan_verb([QUICKSTART], **settings)
    assert capsys.readouterr().out.endswith(f"{on_top}emulated-jetson-nano, emulated-t4\n")
    real = {"edge": ROOT / "devices" / "jetson-nano.yaml", "cloud": ROOT / "devices" / "host.yaml"}
    plan_verb([QUICKSTART], **real, **settings)
    assert on_top not in capsys.readouterr().out


def test_cells_like_it_time_a_cell_by_their_requests(ahead) -> None:
    other = cells.begun(ahead().folder.path / "other", mode="edge_only", config=records.config(mode="edge_only"))
    warmup = records.config().scenario.warmup
    cells.measured(other, 0, requests=20, seconds=2.0 * (20 + warmup))

    told = ahead("scenario={requests: 50, warmup: 5}").cells[0]
    assert (told.repeat.basis, told.repeat.seconds) == ("cells like it", 110.0)
    assert ahead().others == 1


def test_a_repeat_of_a_server_takes_as_long_as_its_requests_take_to_arrive(ahead) -> None:
    server = "scenario={kind: server, target_qps: 2, requests: 50, warmup: 5}"
    slow, stream = ahead(server).cells[0].repeat, ahead("scenario={requests: 50, warmup: 5}").cells[0].repeat
    assert slow.seconds - stream.seconds == pytest.approx(50 / 2 - 50 * durations.REQUEST_S)
    other = cells.begun(ahead().folder.path / "other", mode="edge_only", config=records.config(mode="edge_only"))
    cells.measured(other, 0, requests=20, seconds=2.0 * 40)
    assert ahead(server).cells[0].repeat.basis == "a guess", "one that answers one after the other is not like it"


def test_an_exit_that_is_not_calibrated_leaves_its_cell_unknown_and_the_others_known(ahead) -> None:
    told = ahead("cells.1.exit={calibrate: {drop: 1}}")
    assert [bool(cell.cell) for cell in told.cells] == [True, False]
    assert told.cells[1].before == "its α is calibrated"
    assert [lack.what for lack in told.missing] == [f"α of {told.cells[1].label}"]


def test_how_much_is_measured_is_not_sure_where_a_cell_is_unknown_and_the_folder_has_cells(ahead) -> None:
    cells.begun(ahead().folder.path / "other")
    assert not ahead("cells.1.exit={calibrate: {drop: 1}}").sure


def test_the_plan_in_words(exported: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["testbed", "plan", "quickstart.yaml"])
    both = "cells=[{mode: edge_only, model: coded}, {mode: edge_only, model: coded, exit: {calibrate: {drop: 1}}}]"
    plan_verb([QUICKSTART], [both, *SIZE, "repeats=2"], results=exported)
    said = capsys.readouterr().out.splitlines()
    end = [line.strip() for line in said[-7:]]
    assert end[0] == "?: a cell is not known before its α is calibrated (1 cell)"
    assert end[1] == "missing: α of edge-only, exit at drop 1, from testbed run (about 15 s, a guess)"
    assert end[2] == f"4 repeats to measure, 0 measured, in {exported / 'quickstart'}"
    assert end[3] == "testbed run quickstart.yaml: measures these 4 repeats"
    assert end[4] == "About 58 s; repeats timed by: a guess 4"
    assert end[5].startswith("A guess is 4 s and the idle baselines around a repeat, 30 ms for a request")
    assert end[6].startswith("On top comes what emulated nodes compute ahead and have not kept: ")


def test_several_experiments_are_planned_together_and_a_wrong_one_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [QUICKSTART, tmp_path / "none.yaml", QUICKSTART.with_name("outage.yaml")]
    monkeypatch.setattr(sys, "argv", ["testbed", "plan", *map(str, files)])
    with pytest.raises(typer.Exit) as ended:
        plan_verb(files, results=tmp_path / "results")
    said = capsys.readouterr()
    assert ended.value.exit_code == 1
    assert said.err == f"testbed: {tmp_path}/none.yaml: cannot be read: No such file or directory\n"
    assert f"testbed run {files[0]}: measures these" in said.out
    assert f"testbed run {files[2]}: measures these" in said.out
    assert said.out.splitlines()[-1].startswith("All 2 experiments: about ")


def test_a_guess_takes_the_link_into_account(tmp_path: Path) -> None:
    co, plain = "mode: co_inference, model:", f"models.plain={{recipe: {RECIPE}, variant: plain}}"
    each = (
        "{mode: edge_only, model: coded}",
        f"{{{co} plain, codec: float32}}",
        f"{{{co} plain, codec: packed}}",
        f"{{{co} coded, codec: packed}}",
    )

    def seconds(*overrides: str) -> list[float]:
        told = look_ahead(
            QUICKSTART,
            tmp_path,
            overrides=(*SIZE, plain, f"cells=[{', '.join(each)}]", *overrides),
        )
        return [cell.repeat.seconds for cell in told.cells]

    wifi, slow = seconds(), seconds("link=nb-iot", "scenario.timeout_ms=60000")
    assert slow[0] == wifi[0] == durations.AROUND_S + 1 + 190 * durations.REQUEST_S
    assert all(one > 10 * other for one, other in zip(slow[1:], wifi[1:], strict=True))
    raw, packed, coded = slow[1:]
    assert raw > packed > coded
