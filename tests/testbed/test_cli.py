"""The command as a process: how it starts and what it says when it is used wrongly."""

import io
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from rich.console import Console

from testbed.cli import model, watch
from testbed.cli.app import guarded
from testbed.cli.measure import published

ROOT = Path(__file__).parents[2]

HEAVY = ("numpy", "scipy", "pandas", "matplotlib", "pyarrow", "pydantic", "yaml", "onnxruntime", "zmq", "torch")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "testbed", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "120"})


def test_the_command_starts_without_what_only_its_verbs_need():
    script = f"import sys, testbed.cli; print([name for name in {HEAVY} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"


def test_help_lists_every_verb_in_the_order_of_the_registry():
    from testbed.cli.app import VERBS

    lines = command("--help").stdout.splitlines()
    named = [words[1] for words in map(str.split, lines) if len(words) > 1 and words[1] in VERBS]
    assert named == list(VERBS)


def test_a_plug_in_that_does_not_load_is_one_line_with_its_place(tmp_path):
    (tmp_path / "lab.py").write_text("import math\nmath.missing\n")
    done = command("tables", str(tmp_path), "--plugin", str(tmp_path / "lab.py"))
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"testbed: {tmp_path}/lab.py:2: cannot be loaded: AttributeError: module 'math' has no attribute 'missing'"
    ]


@pytest.mark.parametrize("verb", ["show", "figures", "tables", "report"])
def test_results_that_are_not_there_are_one_line(verb, tmp_path):
    done = command(verb, str(tmp_path / "none"))
    assert done.returncode == 1
    assert done.stderr == f"testbed: {tmp_path / 'none'}: no such results; testbed run makes them\n"


def test_an_exit_policy_that_is_none_is_told_what_there_is(tmp_path):
    done = command("replay", str(tmp_path), "--exit", "0.9", "--policy", "luck")
    assert done.returncode == 1
    assert "--policy max_softmax or entropy or margin, --accumulate mean or sum" in done.stderr


@pytest.mark.parametrize(
    ("verb", "given", "told"),
    [
        (model.evaluate, {"recipes": [Path("a.yaml")], "exits": [0.5, math.nan]}, "--exit nan"),
        (model.evaluate, {"recipes": [Path("a.yaml")], "drop": math.nan}, "--drop nan"),
        (model.calibrate, {"recipe": Path("a.yaml"), "variant": "coded", "drop": -math.inf}, "--drop -inf"),
        (watch.watch, {"folder": Path("results"), "every": math.nan}, "--every nan"),
    ],
)
def test_no_verb_takes_a_number_that_is_none(capsys, monkeypatch, verb, given, told):
    monkeypatch.setattr("testbed.cli.console.errors.width", 200)
    with pytest.raises(typer.Exit) as ended:
        guarded(verb)(**given, quiet=False)
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == f"testbed: {told}: expected a finite number\n"


def test_the_points_that_an_exit_may_cost_are_points():
    done = command("evaluate", "a.yaml", "--drop", "-1")
    assert done.returncode == 2
    assert "--drop" in done.stderr


def test_a_run_cannot_both_go_on_and_begin_anew(tmp_path):
    done = command("run", str(tmp_path / "none.yaml"), "--fresh", "--resume")
    assert done.returncode == 2
    assert "--fresh measures all anew, --resume only what is missing" in done.stderr.replace("\n", " ")


def outlook(done, of, others):
    from testbed.campaign.durations import Duration
    from testbed.campaign.outlook import ForeseenCell, Outlook
    from testbed.record.layout import ExperimentFolder

    cell = ForeseenCell("edge-only", "edge_only", "coded", "c1", "", done, Duration(1.0, "this cell"))
    return Outlook(ExperimentFolder(Path("results/x")), of, cells=[cell], others=others)


def test_a_plan_says_what_each_command_would_do():
    from testbed.cli.plan import would_do

    command = "testbed run x.yaml --set seed=1"
    assert list(would_do(outlook(0, 8, 0), command)) == [
        "8 repeats to measure, 0 measured, in results/x",
        f"{command}: measures these 8 repeats",
    ]
    some = list(would_do(outlook(5, 8, 2), command))
    assert some[:-1] == [
        "3 repeats to measure, 5 measured, in results/x",
        f"{command}: measures the missing 3 repeats",
        "    and first moves 2 cells of another configuration, code or device aside",
        f"{command} --fresh: moves everything aside and measures all 8 repeats anew",
    ]
    assert some[-1].startswith("That is for this command and this code")
    assert list(would_do(outlook(8, 8, 0), command))[1:3] == [
        f"{command}: measures nothing; makes summary, tables, figures and report again",
        f"{command} --fresh: moves everything aside and measures all 8 repeats anew",
    ]


def test_the_command_of_a_plan_is_the_run_that_it_is_about():
    from testbed.cli.plan import as_run

    words = ["plan", "plan", "other.yaml", "--json", "--set", "title=a b", "--quiet"]
    assert as_run(words, {"other.yaml"}) == "testbed run plan --set 'title=a b'"


def test_each_reason_says_which_cell_it_is_about(capsys):
    from testbed.cli.measure import exit_for
    from testbed.record.documents import Status
    from testbed.record.schema import SCHEMA_VERSION

    def status(state, valid, *reasons):
        return Status(schema=SCHEMA_VERSION, state=state, valid=valid, reasons=list(reasons), repeats_done=[0])

    with pytest.raises(typer.Exit) as ended:
        exit_for(
            {
                "edge-only (a1)": status("complete", True),
                "cloud-only (b2)": status("complete", False, "throttled", "too warm"),
                "co-inference (c3)": status("failed", None, "repeat 0: silent"),
            }
        )
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err.splitlines() == [
        "cloud-only (b2): invalid: throttled",
        "cloud-only (b2): invalid: too warm",
        "co-inference (c3): failed: repeat 0: silent",
    ]


def deploy(observer):
    for what, total in (("connecting", 0), ("sending packages", 2_000_000), ("installing packages", 0)):
        for done in range(0, total + 1, 500_000):
            observer.step("orin-01", what, done, total)


def test_steps_of_a_deployment_are_a_line_each_where_nobody_watches(capsys):
    from testbed.cli.progress import campaign_progress

    with campaign_progress() as shown:
        deploy(shown)
        shown.step("orin-01", "", 0, 0)
    said = capsys.readouterr()
    assert said.out == ""
    lines = ["orin-01: connecting", "orin-01: sending packages (2.0 MB)", "orin-01: installing packages"]
    assert without_times(said.err) == lines


def without_times(text):
    lines = [re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (.*)", line) for line in text.splitlines()]
    return [line[1] for line in lines]


def test_a_campaign_in_a_log_is_a_line_for_each_event_without_control_codes(capsys):
    from testbed.cli.progress import campaign_progress

    with campaign_progress() as shown:
        shown.attempt(1, 2, "edge-only (1/2) [x]")
        for done in range(4):
            shown.phase("measuring", done, 3)
        shown.message("Ending after the running request; Ctrl-C again stops now.")
    said = capsys.readouterr()
    assert said.out == ""
    assert "\x1b" not in said.err
    assert without_times(said.err) == [
        "repeat 1 of 2: edge-only (1/2) [x]",
        "edge-only (1/2) [x]: measuring (3 requests)",
        "Ending after the running request; Ctrl-C again stops now.",
    ]


def test_a_training_in_a_log_is_a_line_for_each_epoch(capsys):
    from types import SimpleNamespace

    from testbed.cli.progress import training

    now = {"network": "full", "phase": "backbone", "epochs": 2, "steps": 2, "loss": 0.5, "accuracy": 0.25}
    with training() as report:
        for epoch, step in ((1, 1), (1, 2), (2, 1), (2, 2)):
            report(SimpleNamespace(**now, epoch=epoch, step=step))
    assert without_times(capsys.readouterr().err) == [
        "full, backbone: epoch 1/2, loss 0.500, 25.0%",
        "full, backbone: epoch 2/2, loss 0.500, 25.0%",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89, "89 s"), (90, "2 min"), (5340, "89 min"), (5400, "1 h 30 min")]
)
def test_durations_are_said_as_people_say_them(seconds, text):
    from testbed.cli.progress import in_words

    assert in_words(seconds) == text


def test_quiet_leaves_results_and_errors_and_nothing_else(capsys, monkeypatch):
    from testbed.cli import console
    from testbed.cli.progress import campaign_progress

    monkeypatch.setattr(console.notes, "quiet", False)
    console.hush(True)
    with campaign_progress() as shown:
        shown.attempt(1, 2, "edge-only (1/2)")
    console.complain("no such file")
    console.console.print("a result")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("a result\n", "testbed: no such file\n")


def test_every_verb_can_be_quiet():
    import typer.main

    from testbed.cli.app import app

    verbs = typer.main.get_command(app).commands.values()
    assert all("--quiet" in [option for parameter in verb.params for option in parameter.opts] for verb in verbs)


def test_a_document_is_json_whatever_its_numbers_are(capsys):
    import numpy as np

    from testbed.cli.console import print_document

    print_document({"α": [np.float64("nan"), np.int64(3), np.bool_(True), (1.5, None)]})
    said = capsys.readouterr().out
    assert json.loads(said) == {"α": [None, 3, True, [1.5, None]]}
    assert "α" in said


def test_the_version_is_one_line():
    from testbed.version import VERSION

    assert command("--version").stdout == f"testbed {VERSION}\n"


def test_a_shell_completes_verbs():
    script = "import sys; sys.argv = ['testbed']; from testbed.cli import main; main()"
    words = {"_TESTBED_COMPLETE": "complete_bash", "COMP_WORDS": "testbed re", "COMP_CWORD": "1"}
    found = subprocess.check_output([sys.executable, "-c", script], text=True, env={**os.environ, **words})
    assert found.split() == ["report", "replay"]


@pytest.mark.parametrize(
    ("steps", "shown"),
    [
        ([("connecting", 0, 0)], "orin-01: connecting"),
        ([("connecting", 0, 0), ("sending packages", 1_500_000, 2_000_000)], "orin-01: sending packages 1.5 of 2.0 MB"),
        ([("connecting", 0, 0), ("", 0, 0)], None),
    ],
)
def test_steps_of_a_deployment_are_a_row_below_the_bars_with_bytes_and_no_count(monkeypatch, steps, shown):
    from testbed.cli import progress

    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100, color_system=None, _environ={"TERM": "xterm"})
    monkeypatch.setattr(progress, "notes", terminal)
    with progress.Bars() as bars:
        bars.attempt(1, 3, "edge-only (1/3)")
        bars.phase("reaching nodes", 0, 1)
        for step in steps:
            bars.step("orin-01", *step)
        screen.truncate(0)
    last = screen.getvalue()
    assert "edge-only (1/3): reaching nodes" in last
    assert "0/1" not in last
    assert "/2000000" not in last
    assert "0/3" in last
    assert "orin-01" not in last if shown is None else shown in last


def test_clean_of_a_local_node_removes_what_this_machine_sends_to_others_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    wheels = tmp_path / "neucodex" / "wheels" / "key"
    wheels.mkdir(parents=True)
    (wheels / "numpy.whl").write_bytes(bytes(2_000_000))
    profile = str(ROOT / "devices" / "host.yaml")
    done = command("clean", profile, str(tmp_path / "none.yaml"))
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "host: this machine; nothing is kept on it as a node, only what it sends to nodes over SSH",
        f"host: removed 2.0 MB from {tmp_path}/neucodex: wheels 2.0 MB (1)",
    ]
    assert done.stderr.splitlines()[-1] == f"testbed: not cleaned: {tmp_path}/none.yaml"
    assert not wheels.exists()


@pytest.mark.parametrize("words", [["--results", "/home/somebody/x"], ["--results=/home/somebody/x"], []])
def test_the_command_in_a_manifest_names_no_results_folder(words: list[str]) -> None:
    assert published(["run", *words, "e.yaml", "--set", "repeats=2"]) == ["run", "e.yaml", "--set", "repeats=2"]
