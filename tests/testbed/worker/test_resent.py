"""What a lossy link sends again is in the requests whose bytes it was: the real work, the shaper's process between."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import msgspec

from devices.links.conditions import Direction, Link
from testbed.record.log import read_rows
from testbed.record.resent import ResentRow, StreamRow, sent_again
from testbed.record.schema import NetworkRow, RequestRow
from testbed.worker.cloud import CloudWork
from testbed.worker.edge import EdgeWork
from tests.testbed.worker import test_broken_links

_installed = test_broken_links._installed  # noqa: SLF001
REQUESTS = 60
LOSING = Direction(loss=0.1)


class Measured:
    """What an edge and its cloud recorded over a link."""

    def __init__(self, folder: Path, direction: Direction) -> None:
        lab = test_broken_links.Lab.__new__(test_broken_links.Lab)
        lab.prepare(folder)
        link = Link(name="made", technology="other", up=direction, down=direction)
        loopback = msgspec.structs.replace(lab.load("cloud", None).profile, address="127.0.0.1", data_port=0)
        shaped = {"link": link, "shaping": "user", "profile": loopback}
        cloud = CloudWork(lab.load("cloud", None, **shaped), "bench-cloud", threading.Event(), print)
        edge = EdgeWork(lab.load("edge", cloud.loaded.data_endpoint, **shaped), "bench-edge", threading.Event())
        edge.warm_up([0] * 5)
        edge.measure(lab.order(REQUESTS), lambda done: None)
        edge.finish()
        cloud.finish()
        self.requests = list(read_rows(lab.node_folder("edge") / "requests.jsonl", RequestRow))
        self._lab = lab

    def rows(self, role: str, table: str, row_type: type) -> list[Any]:
        path = self._lab.node_folder(role) / f"{table}.jsonl"
        return list(read_rows(path, row_type)) if path.exists() else []

    def last(self, role: str, interface: str) -> NetworkRow:
        return [row for row in self.rows(role, "network", NetworkRow) if row.interface == interface][-1]


def test_every_packet_sent_again_is_in_the_request_whose_bytes_it_carried(tmp_path: Path) -> None:
    measured = Measured(tmp_path, LOSING)
    assert {row.outcome for row in measured.requests} == {"ok"}
    streams, resent = measured.rows("edge", "streams", StreamRow), measured.rows("cloud", "resent", ResentRow)
    assert len(streams) == REQUESTS
    assert len({row.connection for row in streams} | {row.connection for row in resent}) == 1
    assert len(resent) == measured.last("cloud", "data").retransmits > 20
    again = sent_again(streams, resent)
    # Before the first request lie handshakes and the warming up, after the last one lies the end of the connection.
    first, last = streams[0], streams[-1]
    up, down = range(first.up_from, last.up_to), range(first.down_from, last.down_to)
    for of_requests, inside, side in (
        (sum(each.up_bytes for each in again.values()), up, "up"),
        (sum(each.down_bytes for each in again.values()), down, "down"),
    ):
        assert of_requests == sum(row.wire_bytes for row in resent if row.side == side and row.at in inside) > 0


def test_a_link_without_losses_records_nothing_of_the_kind(tmp_path: Path) -> None:
    measured = Measured(tmp_path, Direction(delay_ms=1))
    assert not measured.rows("edge", "streams", StreamRow)
    assert not measured.rows("cloud", "resent", ResentRow)
    assert measured.last("cloud", "data").retransmits == 0
    assert len(measured.requests) == REQUESTS
