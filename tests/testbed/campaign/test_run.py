"""A plan is carried out, resumed and interrupted; an orchestrator that does what it is told stands in for the nodes."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from devices.links.load import load_link
from testbed.campaign import Campaign, Plan, PlannedCell
from testbed.campaign import run as run_module
from testbed.errors import DeployError, DiskError, NodeFailures, TestbedError, WorkerError
from testbed.experiment import Experiment
from testbed.link.messages import Arrivals, CellConfig
from testbed.orchestrator import Attempt
from testbed.orchestrator.participants import participants
from testbed.record.documents import FailureRecord, Invocation, Manifest, ScenarioDocument, Status
from testbed.record.layout import CellFolder, ResultsFolder
from testbed.record.reader import look_over, read_cell, read_document
from testbed.runtime.bundle import Bundle, BundleCard
from tests.fakes.disk import SmallDisk, small_disk
from tests.made import cells, records

Deed = Callable[["Scripted", Attempt], bool]


class Silent:
    """An observer that keeps what it was told."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)

    def attempt(self, number: int, of: int, title: str) -> None: ...

    def phase(self, name: str, done: int, total: int) -> None: ...

    def step(self, node: str, what: str, done_bytes: int, total_bytes: int) -> None: ...


class Scripted:
    """An orchestrator whose attempts do what the next deed says; without one they measure."""

    deeds: list[Deed]
    seen: list[tuple[str, int]]
    campaign: Campaign

    def __init__(self, *_: object) -> None:
        self.cancelled = False

    def cancel(self) -> str:
        self.cancelled = True
        return "after the running request"

    async def attempt(self, attempt: Attempt) -> bool:
        type(self).seen.append((attempt.folder.path.parents[2].name, attempt.repeat))
        await asyncio.sleep(0)
        return self.deeds.pop(0)(self, attempt) if self.deeds else measure(self, attempt)


def cell_of(attempt: Attempt) -> CellFolder:
    return CellFolder(attempt.folder.path.parents[2])


def measure(_: Scripted, attempt: Attempt) -> bool:
    nodes = [node.id for node in attempt.participants]
    cells.measured(cell_of(attempt), attempt.repeat, nodes=nodes)
    return True


def fails(error: TestbedError) -> Deed:
    def deed(_: Scripted, attempt: Attempt) -> bool:
        cells.tried(cell_of(attempt), attempt.repeat, requests=2)
        raise error

    return deed


def interrupted(orchestrator: Scripted, attempt: Attempt) -> bool:
    orchestrator.campaign.interrupt()
    assert orchestrator.cancelled
    cells.tried(cell_of(attempt), attempt.repeat, requests=1)
    return False


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Two cells of two repeats each."""
    experiment = Experiment.model_validate(
        {
            "name": "toy",
            "models": {"coded": {"recipe": "r.yaml", "variant": "v"}},
            "nodes": {"edge": "e.yaml", "cloud": "c.yaml"},
            "scenario": {"timeout_ms": 400, "deadline_ms": 40},
            "repeats": 2,
            "cells": [
                {"mode": "edge_only", "model": "coded"},
                {"mode": "co_inference", "model": "coded", "codec": "packed", "fallback": "edge_only"},
            ],
        }
    )
    folder = ResultsFolder(tmp_path).experiment("toy")
    card = BundleCard(
        dataset="digits",
        variant="tiny",
        split="test",
        seed=0,
        classes=["0", "1"],
        inputs_sha256="",
        labels_sha256="",
    )
    bundle = Bundle(card, np.zeros((5, 1, 2, 2), np.uint8), np.zeros(5, np.int64))
    nodes = participants([("edge", records.profile("board", "host")), ("cloud", records.profile("server", "host"))])
    scenario = ScenarioDocument(
        kind="server", target_qps=20.0, requests=None, warmup=20, timeout_ms=400, deadline_ms=40
    )
    documents = [records.config(position=n, scenario=scenario) for n in range(2)]
    planned = [
        PlannedCell(spec, None, name, name, folder.cell(name), tmp_path / "model", records.model(), documents[n])
        for n, (name, spec) in enumerate(zip(("edge", "split"), experiment.cells, strict=True))
    ]
    return Plan(experiment, folder, nodes, tmp_path / "bundle", bundle, records.manifest().code, planned)


@pytest.fixture
def run(plan: Plan, monkeypatch: pytest.MonkeyPatch):
    """Runs the plan, its attempts doing what they are told; returns statuses by cell, attempts and messages."""
    monkeypatch.setattr(run_module, "Orchestrator", Scripted)

    def go(
        *deeds: Deed, fresh: bool = False, on_error: str = "skip"
    ) -> tuple[dict[str, Status], list[tuple[str, int]], list[str]]:
        observer = Silent()
        asked = replace(plan, experiment=plan.experiment.model_copy(update={"on_error": on_error}))
        campaign = Campaign(asked, observer, Invocation(argv=["run"], file="toy.yaml"))
        Scripted.deeds, Scripted.seen, Scripted.campaign = list(deeds), [], campaign
        statuses = asyncio.run(campaign.run(fresh=fresh))
        return dict(zip(("edge", "split"), statuses, strict=True)), Scripted.seen, observer.messages

    return go


def test_every_cell_is_measured_repeat_after_repeat(run, plan) -> None:
    statuses, seen, messages = run()
    assert {status.state for status in statuses.values()} == {"complete"}
    assert [repeat for _, repeat in seen] == [0, 0, 1, 1]
    assert seen == [(cell.cell, repeat) for repeat, cell in _order(plan)]
    assert messages == []
    manifest = read_document(plan.cells[0].folder.manifest, Manifest)
    assert set(manifest.nodes) == {"board"}
    assert sorted(manifest.nodes["board"].repeats) == ["0", "1"]
    assert manifest.invocation == Invocation(argv=["run"], file="toy.yaml")
    assert plan.missing() == []


def test_an_attempt_is_told_what_its_cell_says(run) -> None:
    told = {}

    def note(orchestrator: Scripted, attempt: Attempt) -> bool:
        told[cell_of(attempt).path.name] = attempt.config
        return measure(orchestrator, attempt)

    run(note, note)
    times = {"timeout_ms": 400, "deadline_ms": 40}
    assert told == {
        "edge": CellConfig(mode="edge_only", **times),
        "split": CellConfig(mode="co_inference", codec="packed", fallback="edge_only", **times),
    }


def test_requests_arrive_alike_in_all_cells_of_a_repeat_and_otherwise_in_the_next(run) -> None:
    told: dict[int, list[Arrivals]] = {}

    def note(orchestrator: Scripted, attempt: Attempt) -> bool:
        told.setdefault(attempt.repeat, []).append(attempt.arrivals)
        return measure(orchestrator, attempt)

    run(note, note, note, note)
    assert {repeat: len(set(map(str, every))) for repeat, every in told.items()} == {0: 1, 1: 1}
    assert {(each.kind, each.target_qps) for every in told.values() for each in every} == {("server", 20.0)}
    assert told[0][0].seed != told[1][0].seed


def _order(plan: Plan) -> list[tuple[int, PlannedCell]]:
    from testbed.campaign import order

    return order.passes(plan.cells, 2, plan.experiment.seed)


@pytest.mark.parametrize(
    ("address", "shaping", "linked", "needed"),
    [
        ("10.9.0.9", "auto", True, True),
        ("10.9.0.9", "user", True, False),
        ("10.9.0.9", "tc", False, False),
        ("127.0.0.1", "auto", True, False),
    ],
)
def test_nodes_get_what_shaping_by_a_kernel_takes_only_where_that_may_be(
    monkeypatch: pytest.MonkeyPatch, plan: Plan, address: str, shaping: str, linked: bool, needed: bool
) -> None:
    board, server = plan.nodes
    server = replace(server, profile=msgspec.structs.replace(server.profile, address=address))
    plan = replace(
        plan,
        nodes=[board, server],
        experiment=plan.experiment.model_copy(update={"shaping": shaping}),
        cells=[replace(cell, link=load_link("wifi") if linked else None) for cell in plan.cells],
    )
    told: list[bool] = []
    monkeypatch.setattr(run_module, "deployer", lambda *_, tc: told.append(tc))
    Campaign(plan, Silent(), Invocation(argv=[], file=""))
    assert told == [needed, needed]


def test_a_failed_attempt_is_written_beside_its_rows_and_the_others_go_on(run, plan) -> None:
    statuses, seen, messages = run(fails(WorkerError("board fell silent")))
    (name, repeat), *_ = seen
    assert statuses[name].state == "failed"
    assert statuses[name].reasons == [f"repeat {repeat}: board fell silent"]
    assert sorted(status.state for status in statuses.values()) == ["complete", "failed"]
    assert len(seen) == 4
    (attempt,) = plan.folder.cell(name).attempts(repeat)
    told = read_document(attempt.failure, FailureRecord)
    assert (told.kind, told.message) == ("WorkerError", "board fell silent")
    assert messages == [f"{name}, repeat {repeat + 1}: board fell silent"]


def test_on_error_stop_ends_the_campaign_with_the_first_repeat_that_fails(run) -> None:
    statuses, seen, _ = run(measure, fails(WorkerError("no")), on_error="stop")
    assert len(seen) == 2
    assert "failed" in {status.state for status in statuses.values()}


def test_on_error_retry_tries_a_repeat_twice_more_before_it_goes_on(run, plan) -> None:
    no = fails(WorkerError("no"))
    statuses, seen, messages = run(no, no, measure, no, no, no, on_error="retry")
    (first, repeat), (second, other) = seen[0], seen[3]
    assert seen[:6] == [(first, repeat)] * 3 + [(second, other)] * 3
    assert len(seen) == 8
    assert [statuses[name].state for name in (first, second)] == ["complete", "failed"]
    assert messages[0] == f"{first}, repeat {repeat + 1}: no; it is tried again, 2 times at most"
    assert messages[-1] == f"{second}, repeat {other + 1}: no"
    assert len(plan.folder.cell(first).attempts(repeat)) == 3


def test_on_error_retry_tries_again_where_a_node_could_not_be_reached(run) -> None:
    away = fails(DeployError("board: no answer"))
    statuses, seen, _ = run(away, on_error="retry")
    assert {status.state for status in statuses.values()} == {"complete"}
    _, seen, _ = run(away, away, away, fresh=True, on_error="retry")
    assert len(seen) == 3  # it stays away, so that the other repeats would fare no better


def test_an_interrupt_ends_retrying(run) -> None:
    def no_and_stop(orchestrator: Scripted, attempt: Attempt) -> bool:
        orchestrator.campaign.interrupt()
        return fails(WorkerError("no"))(orchestrator, attempt)

    _, seen, _ = run(no_and_stop, on_error="retry")
    assert len(seen) == 1


def test_a_resumed_campaign_measures_what_is_missing_and_keeps_the_failure_for_what_it_does_not_reach(run) -> None:
    _, ((name, repeat), *_), _ = run(fails(WorkerError("no")), fails(WorkerError("no")))
    statuses, seen, _ = run(interrupted)
    assert seen == [(name, repeat)]
    assert sorted(status.state for status in statuses.values()) == ["aborted", "failed"]
    statuses, seen, messages = run()
    assert len(seen) == 2
    assert {status.state for status in statuses.values()} == {"complete"}
    assert messages == ["2 of 4 repeats are measured already; the others follow."]


def test_what_is_all_measured_is_not_measured_again_and_said_to_be(run, plan) -> None:
    before, _, _ = run()
    statuses, seen, messages = run()
    assert seen == []
    assert statuses == before
    assert messages == ["All 4 repeats are measured already; --fresh measures them anew."]
    assert [len(cell.folder.attempts(0)) for cell in plan.cells] == [1, 1]
    assert not plan.folder.previous.exists()


@pytest.mark.parametrize(
    "error",
    [
        DeployError("board: no lease"),
        NodeFailures("reaching nodes", {"board": DeployError("no"), "server": WorkerError("x")}),
    ],
)
def test_a_node_that_cannot_be_used_ends_the_campaign(run, error) -> None:
    statuses, seen, _ = run(fails(error))
    assert len(seen) == 1
    assert sorted(status.state for status in statuses.values()) == ["aborted", "failed"]


def test_code_that_is_edited_while_a_campaign_runs_ends_it_before_another_repeat(run, monkeypatch) -> None:
    def edited(orchestrator: Scripted, attempt: Attempt) -> bool:
        monkeypatch.setattr(run_module.provenance, "digest", lambda root: "another")
        return measure(orchestrator, attempt)

    statuses, seen, messages = run(edited)
    assert len(seen) == 1
    assert sorted(status.state for status in statuses.values()) == ["aborted", "failed"]
    assert "the code that measures was changed while this ran" in messages[-1]


def test_an_interrupt_ends_the_running_attempt_and_no_other_is_begun(run, plan) -> None:
    statuses, seen, messages = run(measure, interrupted)
    assert len(seen) == 2
    assert {status.state for status in statuses.values()} == {"aborted"}
    assert messages == ["Ending after the running request; Ctrl-C again stops now."]
    assert len(plan.missing()) == 3


def test_a_second_interrupt_stops_at_once_and_what_there_is_is_collected(run, plan) -> None:
    def twice(orchestrator: Scripted, attempt: Attempt) -> bool:
        interrupted(orchestrator, attempt)
        orchestrator.campaign.interrupt()
        return False

    statuses, seen, _ = run(twice)
    assert len(seen) == 1
    assert all(cell.folder.table("requests").exists() for cell in plan.cells)
    assert {status.state for status in statuses.values()} == {"aborted"}


def test_a_fresh_run_measures_all_anew_and_moves_earlier_results_aside(run, plan) -> None:
    run()
    statuses, seen, messages = run(fresh=True)
    assert len(seen) == 4
    assert {status.state for status in statuses.values()} == {"complete"}
    (moved,) = plan.folder.previous.iterdir()
    assert messages == [f"Earlier results (--fresh measures anew) were moved to {moved}."]
    assert sorted(path.name for path in moved.iterdir()) == ["edge", "split"]


def test_an_attempt_that_lost_rows_is_measured_again(run, plan) -> None:
    run()
    rows = plan.cells[1].folder.attempts(1)[0].rows("board", "requests")
    rows.write_bytes(b"")
    statuses, seen, _ = run()
    assert seen == [("split", 1)]
    assert statuses["split"].state == "complete"


@pytest.fixture
def disk(plan: Plan) -> Iterator[SmallDisk]:
    """A small disk that holds the experiment's results and nothing else."""
    with small_disk(plan.folder.path) as made:
        yield made


def fills(disk: SmallDisk, leave_pages: int) -> Deed:
    """A repeat in which the disk fills up."""

    def deed(_: Scripted, attempt: Attempt) -> bool:
        cells.tried(cell_of(attempt), attempt.repeat, requests=2)
        disk.fill(leave_pages)
        raise WorkerError("edge board, measuring: requests.jsonl: cannot be written: No space left on device")

    return deed


@pytest.mark.parametrize("leave_pages", [0, 16])
def test_a_disk_that_fills_up_loses_nothing_that_was_measured(run, plan, disk, leave_pages) -> None:
    statuses, seen, messages = run(measure, fills(disk, leave_pages))
    assert "complete" not in {status.state for status in statuses.values()}
    told = [*messages, *(reason for status in statuses.values() for reason in status.reasons)]
    assert all("\n" not in line for line in told)
    assert any("cannot be written: No space left on device" in line for line in told)
    on_disk = [cell for cell in plan.cells if cell.folder.status.exists()]
    for cell in on_disk:
        assert read_document(cell.folder.status, Status).state in ("failed", "aborted")
    assert bool(on_disk) == (leave_pages > 0)

    disk.make_room()
    statuses, again, _ = run()
    assert {status.state for status in statuses.values()} == {"complete"}
    assert seen[0] not in again, "the repeat that was measured before the disk filled up is kept"
    assert seen[1] in again, "the one in which it filled up is measured again"


def test_without_room_for_a_line_the_campaign_ends_instead_of_measuring_for_nothing(run, disk) -> None:
    _, seen, _ = run(fills(disk, 0))
    assert len(seen) == 1


def test_a_disk_that_became_read_only_is_one_line_and_goes_on_later(run, disk) -> None:
    _, seen, _ = run(measure, fails(DeployError("board: unplugged")))
    disk.remount("ro")
    with pytest.raises(DiskError, match=r"toy: cannot be written: Read-only file system; make room or choose"):
        run()
    disk.remount("rw")
    statuses, again, _ = run()
    assert {status.state for status in statuses.values()} == {"complete"}
    assert seen[0] not in again


def test_what_is_torn_in_a_cell_is_made_again_from_what_its_nodes_recorded(run, plan) -> None:
    run()
    plan.cells[0].folder.table("requests").write_bytes(b"PAR1")
    plan.cells[1].folder.manifest.unlink()
    statuses, seen, _ = run()
    assert (seen, {status.state for status in statuses.values()}) == ([], {"complete"})
    assert all(not look_over(read_cell(cell.folder.path)).damage for cell in plan.cells)


def test_rows_that_cannot_be_read_fail_their_cell_and_no_other(run, plan) -> None:
    run()
    rows = plan.cells[1].folder.attempts(1)[0].rows("board", "requests")
    rows.write_bytes(b"{}\n" * rows.read_bytes().count(b"\n"))
    plan.cells[1].folder.status.unlink()
    statuses, seen, _ = run()
    assert seen == []
    assert (statuses["edge"].state, statuses["split"].state) == ("complete", "failed")
    assert f"{rows}:1: not a RequestRow" in statuses["split"].reasons[0]


def test_an_attempt_whose_edge_folder_is_gone_is_measured_again(run, plan) -> None:
    run()
    shutil.rmtree(plan.cells[0].folder.attempts(0)[0].path / "board")
    statuses, seen, _ = run()
    assert seen == [("edge", 0)]
    assert statuses["edge"].state == "complete"


def test_an_attempt_whose_last_row_was_cut_is_measured_again(run, plan) -> None:
    run()
    rows = plan.cells[0].folder.attempts(1)[0].rows("board", "requests")
    rows.write_bytes(rows.read_bytes()[:-5])
    statuses, seen, _ = run()
    assert seen == [("edge", 1)]
    assert statuses["edge"].state == "complete"
