"""What is left of a campaign when something is killed, stopped or interrupted in the middle."""

from __future__ import annotations

import json
import signal
import sys

import psutil
import pytest

pytestmark = pytest.mark.timeout(300)

EDGE_ONLY = {"mode": "edge_only", "model": "plain"}
SPLIT = {"mode": "co_inference", "model": "plain", "codec": "packed"}


def test_killed_orchestrator_leaves_no_process_and_loses_no_row(lab, fingerprints) -> None:
    experiment = lab.experiment(SPLIT, repeats=2)
    running = lab.start("run", experiment, "--results", lab.results, "--no-report")
    cell = lab.wait_until_measuring(repeat=1)
    assert len(lab.nodes()) == 3  # edge, cloud, power sampler
    before = lab.recorded(cell, "raw/repeat-01/*/bench-edge/requests.jsonl")

    running.signal(signal.SIGKILL)

    lab.wait_until_nodes_are_gone()
    assert running.outcome().code == -signal.SIGKILL
    assert before <= lab.recorded(cell, "raw/repeat-01/*/bench-edge/requests.jsonl") < 20
    assert lab.recorded(cell, "raw/repeat-01/*/bench-edge/power.jsonl") > 0
    assert not (cell / "status.json").exists()
    kept = fingerprints(cell / "raw")

    done = lab.run("run", experiment, "--results", lab.results, "--no-report", "--resume")

    assert done.code == 0, done.text
    after = fingerprints(cell / "raw")
    assert {name: after[name] for name in kept} == kept
    added = {name.rsplit("/", 2)[0] for name in set(after) - set(kept)}
    assert {name.split("/")[0] for name in added} == {"repeat-01"}
    assert sorted(path.name for path in (cell / "raw" / "repeat-01").iterdir()) == ["attempt-000", "attempt-001"]
    (result,) = lab.cells()
    assert result.complete
    assert result.status.repeats_done == [0, 1]
    assert list(result.requests["request_id"]) == list(range(40))
    assert not (lab.campaign / ".previous").exists()
    again = lab.run("run", experiment, "--results", lab.results, "--no-report")
    assert again.code == 0, again.text
    assert fingerprints(cell / "raw") == after


@pytest.mark.parametrize("role", ["edge", "cloud"])
def test_killed_worker_fails_its_cell_alone(lab, role) -> None:
    experiment = lab.experiment(EDGE_ONLY, SPLIT)
    running = lab.start("run", experiment, "--results", lab.results, "--no-report")
    lab.wait_until_measuring("co_inference")
    (victim,) = lab.nodes(f"bench-{role}")
    peers = [process for process in lab.nodes() if process != victim]

    victim.kill()

    _, alive = psutil.wait_procs(peers, timeout=10)
    assert not alive
    done = running.outcome()
    assert done.code == 1, done.text
    assert "Traceback" not in done.text
    failed, whole = lab.cell("co_inference"), lab.cell("edge_only")
    assert failed.status.state == "failed"
    (reason,) = failed.status.reasons
    assert reason.startswith(f"repeat 0: {role} bench-{role}, ")
    assert "was ended by signal 9" in reason
    assert reason.splitlines()[0] in done.err
    assert len(failed.requests) >= 3
    assert whole.complete
    assert not lab.nodes()


@pytest.mark.parametrize("role", ["edge", "cloud"])
def test_stopped_worker_fails_its_cell_as_silent(lab, role) -> None:
    experiment = lab.experiment(SPLIT)
    running = lab.start("run", experiment, "--results", lab.results, "--set", "deadlines.silence_s=1.5")
    lab.wait_until_measuring()
    (victim,) = lab.nodes(f"bench-{role}")

    victim.send_signal(signal.SIGSTOP)

    done = running.outcome()
    assert done.code == 1, done.text
    assert not lab.nodes()
    (cell,) = lab.cells()
    assert cell.status.state == "failed"
    (reason,) = cell.status.reasons
    assert f"{role} bench-{role}, {'measuring' if role == 'edge' else 'serving'}: silent for" in reason
    assert "limit 1.5 s" in reason
    # With nothing to draw there is still a table and a report, which say why.
    assert "co-inference" in done.out
    assert "silent for" in (lab.campaign / "report.html").read_text()


def test_workers_of_an_orchestrator_that_falls_silent_end_themselves(lab) -> None:
    running = lab.start(
        "run", lab.experiment(SPLIT), "--results", lab.results, "--no-report", "--set", "deadlines.silence_s=1.5"
    )
    lab.wait_until_measuring()

    running.signal(signal.SIGSTOP)  # as a workstation without power: nothing is closed

    lab.wait_until_nodes_are_gone()
    running.signal(signal.SIGCONT)
    done = running.outcome()
    assert done.code == 1, done.text
    (cell,) = lab.cells()
    assert "ended with exit code 4" in cell.status.reasons[0]
    assert "the orchestrator was silent for 1.5 s" in cell.status.reasons[0]


def test_request_that_runs_when_the_orchestrator_is_lost_ends_in_its_row_and_is_the_last(lab) -> None:
    limits = ("--set", "deadlines.silence_s=1.5", "--set", "scenario.timeout_ms=2500")
    running = lab.start("run", lab.experiment(SPLIT), "--results", lab.results, "--no-report", *limits)
    cell = lab.wait_until_measuring()
    (cloud,) = lab.nodes("bench-cloud")

    cloud.suspend()  # as a cable that is pulled: neither the cloud nor the orchestrator is heard any more
    running.signal(signal.SIGSTOP)

    lab.wait_for("the edge has ended itself", lambda: not lab.nodes("bench-edge"), 10)
    (log,) = cell.glob("raw/*/*/bench-edge/requests.jsonl")
    *answered, last = [json.loads(line) for line in log.read_text().splitlines()]
    assert {row["outcome"] for row in answered} == {"ok"}
    assert last["outcome"] == "timeout"
    assert "no reply within 2500 ms" in last["reason"]


def test_first_interrupt_ends_at_the_next_request_and_collects(lab) -> None:
    experiment = lab.experiment(EDGE_ONLY, SPLIT, scenario={"requests": 400, "warmup": 1})
    running = lab.start("run", experiment, "--results", lab.results, "--no-report")
    folder = lab.wait_until_measuring()
    before = lab.recorded(folder)

    running.signal(signal.SIGINT)

    done = running.outcome(60)
    assert done.code == 130, done.text
    assert "Traceback" not in done.text
    assert not lab.nodes()
    cells = {cell.folder.name: cell for cell in lab.cells()}
    assert {cell.status.state for cell in cells.values()} == {"aborted"}
    assert {cell.status.valid for cell in cells.values()} == {None}
    interrupted = cells.pop(folder.name)
    assert before <= len(interrupted.requests) == lab.recorded(folder) < 400
    assert set(interrupted.requests["outcome"]) == {"ok"}
    phases = [event.detail["phase"] for event in interrupted.events if event.node == "bench-edge"]
    assert phases[-1] == "end"
    (untouched,) = cells.values()
    assert not (untouched.folder / "raw").exists()
    assert untouched.status.reasons == ["0 of 1 repeats were measured"]


def test_an_interrupt_during_the_last_request_loses_nothing(lab) -> None:
    edge = lab.device("bench-edge", "emulated-orin-nano", call_ms=500)  # so long takes a request
    experiment = lab.experiment(EDGE_ONLY, edge=edge, scenario={"requests": 4, "warmup": 1})
    running = lab.start("run", experiment, "--results", lab.results, "--no-report")
    lab.wait_until_measuring()

    running.signal(signal.SIGINT)

    done = running.outcome(60)
    assert "Ending after the running request" in done.err
    assert done.code == 0, done.text
    (cell,) = lab.cells()
    assert cell.complete
    assert list(cell.requests["request_id"]) == [0, 1, 2, 3]
    began = {event.detail["phase"]: event.t_ns for event in cell.events if event.node == "bench-edge"}
    assert began["end"] - began["idle_after"] >= 0.2e9  # its baseline is none the shorter


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_workers_start_ends_the_run_and_nothing_is_measured(lab, number) -> None:
    slow = lab.folder / "slow-python"
    slow.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(600)\n")
    slow.chmod(0o755)
    edge = lab.device("bench-edge", "emulated-orin-nano", slowdown=30, python=str(slow))
    experiment = lab.experiment(EDGE_ONLY, SPLIT, edge=edge)
    running = lab.start("run", experiment, "--results", lab.results, "--no-report", "--set", "deadlines.start_s=600")
    lab.wait_for("the worker starts", lambda: lab.nodes("bench-edge"))

    running.signal(number)

    done = running.outcome(40)
    assert done.code == 130, done.text
    assert "Ending without this repeat, which has not begun; Ctrl-C again stops now." in done.err
    assert "Traceback" not in done.text
    assert not lab.nodes()
    assert {cell.status.state for cell in lab.cells()} == {"aborted"}
    assert lab.recorded(lab.campaign) == 0


def test_second_interrupt_stops_now(lab) -> None:
    # A request of this edge takes minutes, so that its end cannot be what ends the run.
    edge = lab.device("bench-edge", "emulated-orin-nano", slowdown=100_000)
    experiment = lab.experiment(EDGE_ONLY, edge=edge)
    running = lab.start("run", experiment, "--results", lab.results, "--no-report")
    lab.wait_for("warming up", lambda: lab.recorded(lab.campaign, "*/raw/*/*/bench-edge/events.jsonl"))

    running.signal(signal.SIGINT)
    lab.wait_for("the first is answered", lambda: "Ending after the running request" in running.text)
    assert running.process.poll() is None
    running.signal(signal.SIGINT)

    lab.wait_until_nodes_are_gone()
    done = running.outcome(40)
    assert done.code == 130, done.text
    assert "Traceback" not in done.text
    (cell,) = lab.cells()
    assert cell.status.state == "aborted"


def test_a_second_run_on_the_same_results_is_refused(lab) -> None:
    experiment = lab.experiment(EDGE_ONLY, scenario={"requests": 2000, "warmup": 1})
    first = lab.start("run", experiment, "--results", lab.results, "--no-report")
    folder = lab.wait_until_measuring()

    second = lab.run("run", experiment, "--results", lab.results, "--no-report", seconds=40)

    assert second.code == 1, second.text
    (line,) = second.err.splitlines()
    assert "another testbed run is writing here" in line
    assert str(first.process.pid) in line
    assert not (lab.campaign / ".previous").exists()
    before = lab.recorded(folder)
    lab.wait_for("the first run goes on", lambda: lab.recorded(folder) > before)
    first.signal(signal.SIGINT)
    assert first.outcome(60).code == 130


def test_only_a_fresh_run_sets_whole_results_aside(lab, fingerprints) -> None:
    experiment = lab.experiment(EDGE_ONLY, scenario={"requests": 6, "warmup": 1})
    done = lab.run("run", experiment, "--results", lab.results, "--no-report")
    assert "the same command without --no-report makes them" in done.err
    assert not (lab.campaign / "summary.csv").exists()
    (cell,) = lab.cells()
    kept = fingerprints(cell.folder)
    planned = lab.run("plan", experiment, "--results", lab.results)
    assert "0 repeats to measure, 1 measured" in planned.out, planned.text
    assert ": measures nothing; makes summary, tables, figures and report again" in planned.out
    assert " --fresh: moves everything aside and measures all 1 repeats anew" in planned.out

    again = lab.run("run", experiment, "--results", lab.results)
    assert again.code == 0, again.text
    assert "All 1 repeats are measured already; --fresh measures them anew." in again.err
    assert "Measured in" not in again.err
    assert (lab.campaign / "summary.csv").exists()
    assert fingerprints(cell.folder) == kept

    lab.run("run", experiment, "--results", lab.results, "--no-report", "--fresh")

    (previous,) = (lab.campaign / ".previous").iterdir()
    assert fingerprints(previous / cell.folder.name) == kept
    assert json.loads((cell.folder / "status.json").read_text())["state"] == "complete"
    assert fingerprints(cell.folder) != kept
