"""Two edges share a cloud: each is a participant of its own, in the same role and of the same profile."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from devices.base.power import PowerRow
from devices.profile import load_profile
from testbed.deploy.local import LocalDeployer
from testbed.errors import WorkerError
from testbed.experiment import Deadlines
from testbed.link.messages import CellConfig
from testbed.orchestrator import Attempt, Orchestrator, Phase, taking_part
from testbed.orchestrator.participants import participants
from testbed.record.documents import AttemptRecord
from testbed.record.layout import AttemptFolder
from testbed.record.log import read_rows
from testbed.record.reader import read_document
from testbed.record.schema import EventRow, RequestRow, TimestepRow
from testbed.record.tables import write_table
from testbed.runtime.artefact import load_card
from testbed.runtime.bundle import load_bundle

DEVICES = Path(__file__).parents[2] / "devices"
SAMPLES = [5, 2, 9]


@pytest.fixture
def pair(models, tmp_path):
    """An attempt on two edges of one profile and a cloud, of those whom the mode asks for; and who runs it."""

    def make(mode: str, samples: list[int] = SAMPLES, on_phase: Phase = lambda name, done, total: None):
        board = load_profile(DEVICES / "emulated-orin-nano.yaml")
        board = replace(board, name="board", power=[replace(board.power[0], rate_hz=25)])
        nodes = participants([("edge", board), ("edge", board), ("cloud", load_profile(DEVICES / "host.yaml"))])
        artefact, (bundle,) = models / "models/digits-resnet18/coded", (models / "bundles").glob("digits-resnet18-*")
        attempt = Attempt(
            folder=AttemptFolder(tmp_path / "attempt"),
            logs=tmp_path / "logs",
            repeat=0,
            config=CellConfig(mode=mode, codec="packed" if mode == "co_inference" else None, timeout_ms=5000),
            participants=taking_part(nodes, mode),
            artefact=artefact,
            artefact_hash=load_card(artefact).hash,
            bundle=bundle,
            bundle_hash=load_bundle(bundle).card.hash,
            samples=samples,
            warmup=[0],
            idle_s=0.1,
            curve=True,
            deadlines=Deadlines(),
        )
        deployers = {node.id: LocalDeployer(node.profile) for node in nodes}
        return attempt, Orchestrator("pair", on_phase, deployers)

    return make


def test_two_edges_measure_at_once_against_one_cloud_and_their_rows_are_told_apart(pair, tmp_path) -> None:
    told: list[tuple[str, int]] = []
    attempt, orchestrator = pair("co_inference", on_phase=lambda name, done, total: told.append((name, done)))

    assert asyncio.run(orchestrator.attempt(attempt))

    record = read_document(attempt.folder.record, AttemptRecord)
    assert set(record.nodes) == {"board", "board-2", "host"}
    assert {estimate.node for estimate in record.clock.estimates} == {"board", "board-2", "host"}
    rows = {name: list(read_rows(attempt.folder.rows(name, "requests"), RequestRow)) for name in record.requests}
    assert {name: len(found) for name, found in rows.items()} == record.requests
    for name, found in rows.items():
        assert {row.node for row in found} == {name}
        assert {row.outcome for row in found} == {"ok"}
        assert [row.sample_index for row in found[:3]] == SAMPLES
        steps = list(read_rows(attempt.folder.rows(name, "timesteps"), TimestepRow))
        assert {(step.node, step.request_id) for step in steps} == {(name, row.request_id) for row in found}
        assert {row.node for row in read_rows(attempt.folder.rows(name, "power"), PowerRow)} == {name}
    first, second = rows["board"], rows["board-2"]
    assert [row.prediction for row in first[:3]] == [row.prediction for row in second[:3]]
    # At once, not one after the other: the same machine has one clock.
    assert first[0].t_start_ns < second[-1].t_end_ns
    assert second[0].t_start_ns < first[-1].t_end_ns
    events = list(read_rows(attempt.folder.rows("host", "events"), EventRow))
    assert {event.event for event in events} == {"phase"}, "a frame or a peer was refused"
    assert max(done for name, done in told if name == "measuring") == len(SAMPLES)
    logs = attempt.folder.all_rows("requests")
    assert write_table(tmp_path / "requests.parquet", RequestRow, logs) == sum(record.requests.values())


def test_rows_are_on_the_disk_itself_before_the_attempt_says_that_it_measured_them(pair, tmp_path, monkeypatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def remember(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", remember)
    attempt, orchestrator = pair("edge_only")
    assert asyncio.run(orchestrator.attempt(attempt))
    assert {"requests.jsonl", "timesteps.jsonl", "power.jsonl", "events.jsonl"} <= set(synced[:-1])
    assert synced[-1].startswith(".attempt.json")


def test_one_edge_that_is_killed_ends_the_attempt_and_what_both_recorded_is_kept(pair) -> None:
    attempt, orchestrator = pair("co_inference", samples=SAMPLES * 1000)

    async def kill_one() -> None:
        while not all(_rows(attempt.folder, name) for name in ("board", "board-2")):
            await asyncio.sleep(0.02)
        for process in psutil.Process().children():
            if process.cmdline()[3:6] == ["--node", "board-2", "--run"]:
                process.kill()

    async def scenario() -> None:
        killing = asyncio.create_task(kill_one())
        await orchestrator.attempt(attempt)
        await killing

    with pytest.raises(WorkerError, match="edge board-2, measuring: the worker was ended by signal 9"):
        asyncio.run(scenario())
    # The other edge was not waited for, which would have been done with thousands of requests.
    assert 0 < _rows(attempt.folder, "board") < len(attempt.samples)
    assert 0 < _rows(attempt.folder, "board-2") < len(attempt.samples)
    assert not attempt.folder.record.exists()
    assert not psutil.Process().children()


def _rows(folder: AttemptFolder, name: str) -> int:
    log = folder.rows(name, "requests")
    return log.read_bytes().count(b"\n") if log.exists() else 0
