"""The command as a process: how it starts and what it says when it is used wrongly."""

import os
import subprocess
import sys

import pytest

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


@pytest.mark.parametrize("verb", ["show", "figures", "tables", "report"])
def test_results_that_are_not_there_are_one_line(verb, tmp_path):
    done = command(verb, str(tmp_path / "none"))
    assert done.returncode == 1
    assert done.stderr == f"testbed: {tmp_path / 'none'}: no such results; testbed run makes them\n"


def test_an_exit_policy_that_is_none_is_told_what_there_is(tmp_path):
    done = command("replay", str(tmp_path), "--threshold", "0.9", "--policy", "luck")
    assert done.returncode == 1
    assert "--policy max_softmax or entropy or margin, --accumulate mean or sum" in done.stderr


def test_a_run_cannot_both_go_on_and_begin_anew(tmp_path):
    done = command("run", str(tmp_path / "none.yaml"), "--fresh", "--resume")
    assert done.returncode == 2
    assert "--fresh measures all anew, --resume only what is missing" in done.stderr.replace("\n", " ")


def test_a_plan_says_what_each_commandwould_do():
    from testbed.cli.measure import would_do

    assert list(would_do(8, 8, 0)) == ["testbed run: measures these 8 repeats"]
    assert list(would_do(3, 8, 2)) == [
        "testbed run: measures the missing 3 repeats",
        "             and first moves 2 cells of another configuration, code or device aside",
        "testbed run --fresh: moves everything aside and measures all 8 repeats anew",
    ]
    assert list(would_do(0, 8, 0)) == [
        "testbed run: measures nothing; makes summary, tables, figures and report again",
        "testbed run --fresh: moves everything aside and measures all 8 repeats anew",
    ]
