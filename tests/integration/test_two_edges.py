"""Two edges share a cloud: each is a participant of its own, in the same role and of the same profile."""

from __future__ import annotations

import asyncio
from pathlib import Path

from msgspec.structs import replace

from devices.base.power import PowerRow
from devices.profile import load_profile
from testbed.deploy.local import LocalDeployer
from testbed.experiment import Deadlines
from testbed.link.messages import CellConfig
from testbed.orchestrator import Attempt, Orchestrator, taking_part
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


def test_two_edges_measure_at_once_against_one_cloud_and_their_rows_are_told_apart(models, tmp_path) -> None:
    board = load_profile(DEVICES / "emulated-orin-nano.yaml")
    board = replace(board, name="board", power=[replace(board.power[0], rate_hz=40)])
    nodes = participants([("edge", board), ("edge", board), ("cloud", load_profile(DEVICES / "host.yaml"))])
    artefact, (bundle,) = models / "models" / "quickstart" / "coded", (models / "bundles").iterdir()
    attempt = Attempt(
        folder=AttemptFolder(tmp_path / "attempt"),
        logs=tmp_path / "logs",
        repeat=0,
        config=CellConfig(mode="co_inference", codec="packed", timeout_ms=5000),
        participants=taking_part(nodes, "co_inference"),
        artefact=artefact,
        artefact_hash=load_card(artefact).hash,
        bundle=bundle,
        bundle_hash=load_bundle(bundle).card.hash,
        samples=SAMPLES,
        warmup=[0],
        idle_s=0.1,
        curve=True,
        deadlines=Deadlines(),
    )
    told: list[tuple[str, int]] = []
    deployers = {node.id: LocalDeployer(node.profile) for node in nodes}
    orchestrator = Orchestrator("pair", lambda name, done, total: told.append((name, done)), deployers)

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
