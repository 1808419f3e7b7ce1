"""An edge and a cloud whose kernels shape what they send, over a wire between two namespaces of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from devices.links.conditions import Capacity, Direction, Link
from devices.links.load import load_link
from devices.machine import Machine
from devices.profile import load_profile
from testbed.errors import LinkError, TestbedError
from testbed.link.interfaces import InterfaceCounters
from testbed.link.messages import AskShaping, CanShape
from testbed.link.shaping.shaper import Disturbance
from testbed.orchestrator.shaping import choose
from testbed.record.log import read_rows
from testbed.record.schema import NetworkRow
from testbed.validity.path import MAX_RATE_OFF, MAX_RTT_OFF_MS
from testbed.worker import station
from testbed.worker.cloud import CloudWork
from testbed.worker.edge import EdgeWork
from testbed.worker.linkpart import can_shape
from tests.calm import in_a_calm_moment
from tests.fakes.wire import Wire, why_not
from tests.testbed.orchestrator.test_shaping import attempt
from tests.testbed.worker import test_broken_links

_installed = test_broken_links._installed  # noqa: SLF001
EDGE, CLOUD = "10.9.0.1", "10.9.0.2"


def steady(mbit_s: float) -> Direction:
    return Direction(capacity=Capacity(ms=[0, 1000], bytes=[0, round(125_000 * mbit_s)]))


NEAR = Link(name="near", technology="other", up=steady(4), down=steady(8))
pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture
def wire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    # /sys shows the interfaces of the namespace that mounted it.
    counters = tmp_path / "sys" / "wire" / "statistics"
    counters.mkdir(parents=True)
    for name in ("tx_bytes", "rx_bytes"):
        (counters / name).write_text("0")
    of_the_wire = functools.partial(InterfaceCounters, sys_class_net=tmp_path / "sys")
    monkeypatch.setattr("testbed.worker.network.InterfaceCounters", of_the_wire)
    made = Wire()
    yield made
    made.close()


def asked(wire: Wire, link: Link) -> tuple[CanShape, CanShape]:
    with wire.edge.inside():
        edge = can_shape(Machine(), AskShaping(link=link, peers=[CLOUD], role="edge"))
    with wire.cloud.inside():
        return edge, can_shape(Machine(), AskShaping(link=link, peers=[EDGE], role="cloud"))


class WireLab(test_broken_links.Lab):
    """The edge's and the cloud's work at the two ends of a wire, shaped by the kernel."""

    def __init__(self, folder: Path, wire: Wire, *, capture: bool = False) -> None:
        self.prepare(folder)
        self._config = msgspec.structs.replace(self._config, timeout_ms=test_broken_links.BRIEF_MS)
        self._wire = wire
        states = folder / "states"
        shaped = {"link": NEAR, "shaping": "tc", "peers": [EDGE], "capture": capture}
        cloud = msgspec.structs.replace(load_profile(test_broken_links.HOST), address=CLOUD)
        # Each end has a journal of its own, as two machines have; `wire` is the name of both interfaces.
        with wire.cloud.inside(), pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_STATE_HOME", str(states / "cloud"))
            load = self.load("cloud", None, profile=cloud, **shaped)
            self.cloud = CloudWork(load, "bench-cloud", threading.Event(), print)
        try:
            with wire.edge.inside(), pytest.MonkeyPatch.context() as patch:
                patch.setenv("XDG_STATE_HOME", str(states / "edge"))
                load = self.load("edge", self.cloud.loaded.data_endpoint, **shaped)
                self.edge = EdgeWork(load, "bench-edge", threading.Event())
        except BaseException:
            with wire.cloud.inside():
                self.cloud.finish()
            raise

    def queues(self) -> list[str]:
        """What shapes at each end."""
        return [node.run("tc qdisc show dev wire") for node in (self._wire.edge, self._wire.cloud)]

    def finish(self, role: str | None = None) -> None:
        """End one end's work, or both, each where its queues are."""
        for node, work in ((self._wire.edge, self.edge), (self._wire.cloud, self.cloud)):
            if role is None or work is getattr(self, role):
                with node.inside():
                    work.finish()


@pytest.fixture
def labs(tmp_path: Path, wire: Wire) -> Iterator[Callable[..., WireLab]]:
    """Makes one, and ends it."""
    reasons = [reason for answer in asked(wire, NEAR) for reason in answer.reasons]
    if reasons:
        pytest.skip("; ".join(reasons))
    made: list[WireLab] = []

    def make(**changes: bool) -> WireLab:
        made.append(WireLab(tmp_path, wire, **changes))
        return made[-1]

    yield make
    for lab in made:
        for role in ("edge", "cloud"):
            with contextlib.suppress(TestbedError):
                lab.finish(role)


@pytest.fixture
def lab(labs: Callable[..., WireLab]) -> WireLab:
    return labs()


def test_each_end_says_whether_it_can_and_where_it_is(wire: Wire) -> None:
    edge, cloud = asked(wire, NEAR)
    assert (edge.address, cloud.address) == (EDGE, CLOUD)
    with wire.edge.inside():
        itself = can_shape(Machine(), AskShaping(link=NEAR, peers=[EDGE], role="edge"))
        nowhere = can_shape(Machine(), AskShaping(link=NEAR, peers=["192.0.2.1"], role="edge"))
    assert "this machine's own address" in itself.reasons[0]
    assert nowhere == CanShape(reasons=["no way to 192.0.2.1: Network is unreachable"], address=None)


def test_a_link_that_a_kernel_cannot_shape_is_shaped_in_user_space_and_the_record_says_why(
    wire: Wire, tmp_path: Path
) -> None:
    wifi = load_link("wifi")
    answers = dict(zip(("board", "server"), asked(wire, wifi), strict=True))
    if not answers["board"].reasons:
        pytest.skip("this kernel can shape Wi-Fi")

    async def answer(node: str, _: AskShaping) -> CanShape:
        return answers[node]

    chosen = asyncio.run(choose(attempt(link=wifi, address=CLOUD), answer))
    assert chosen.shaping == "user"
    assert any("netem" in reason for reason in chosen.because)
    lab = test_broken_links.Lab.__new__(test_broken_links.Lab)  # a cloud alone
    lab.prepare(tmp_path)
    load = lab.load("cloud", None, link=wifi, shaping=chosen.shaping, because=chosen.because)
    cloud = CloudWork(load, "bench-cloud", threading.Event(), print)
    assert cloud.loaded.detail.shaping == "user"
    cloud.finish()
    (event,) = (event.detail for event in lab.events("cloud") if event.event == "shaping")
    assert event == {"kind": "user", "because": chosen.because}


def test_both_ends_shape_the_path_is_as_asked_for_and_nothing_is_left(lab: WireLab, wire: Wire) -> None:
    assert [work.loaded.detail.shaping for work in (lab.edge, lab.cloud)] == ["tc", "tc"]
    assert all("htb 7e57:" in queues for queues in lab.queues())
    with wire.edge.inside():
        lab.edge.link.begin()
    with wire.cloud.inside():
        lab.cloud.link.begin()

    def is_as_asked_for() -> None:
        path = lab.edge.check_path("before")
        assert path.rtt_ms == pytest.approx(path.rtt_ms_asked, abs=MAX_RTT_OFF_MS + path.rtt_ms_unsure)
        assert path.up_bytes_per_s == pytest.approx(500_000, rel=MAX_RATE_OFF)
        assert path.down_bytes_per_s == pytest.approx(1_000_000, rel=MAX_RATE_OFF)

    in_a_calm_moment(is_as_asked_for)
    assert test_broken_links.outcomes(lab.measure(5)) == "o" * 5
    lab.finish()
    assert not any("htb" in queues for queues in lab.queues())
    rows = read_rows(lab.node_folder("edge") / "network.jsonl", NetworkRow)
    assert {row.interface for row in rows} == {"data", "if:wire"}
    for role in ("edge", "cloud"):
        assert [event.detail for event in lab.events(role) if event.event == "shaping"] == [
            {"kind": "tc", "because": []}
        ]


def test_a_link_is_broken_at_both_ends_while_requests_run(lab: WireLab) -> None:
    for work in (lab.edge, lab.cloud):
        work.link.disturb(Disturbance(down=True))
    assert test_broken_links.outcomes(lab.measure(1)) == "t"
    for work in (lab.edge, lab.cloud):
        work.link.disturb(Disturbance())
    assert test_broken_links.outcomes(lab.measure(4, 1))[-1] == "o"
    lab.finish()


def test_queues_that_somebody_took_away_fail_the_repeat_once_all_is_closed(lab: WireLab, wire: Wire) -> None:
    wire.edge.run("tc qdisc del dev wire root")
    with pytest.raises(LinkError, match="wire is no longer shaped"):
        lab.finish("edge")
    lab.finish("cloud")
    assert "phase" in {event.event for event in lab.events("edge")}


def test_a_worker_that_ends_in_the_middle_leaves_no_queue(
    lab: WireLab, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(station, "_made", station._made[-1:])  # noqa: SLF001  (the edge's; each worker is a process)
    with wire.edge.inside():
        station.undo_changes()
    assert ["htb" in queues for queues in lab.queues()] == [False, True]
    with pytest.raises(LinkError, match="has ended"):
        lab.edge.link.disturb(Disturbance())
    with pytest.raises(LinkError, match="has ended"):
        lab.finish("edge")


@pytest.mark.skipif(shutil.which("tcpdump", path=f"{os.environ['PATH']}:/usr/sbin") is None, reason="needs tcpdump")
def test_the_packets_of_the_data_port_are_captured_on_the_interface_to_the_cloud(
    labs: Callable[..., WireLab],
) -> None:
    lab = labs(capture=True)
    lab.measure(2)
    lab.finish()
    (event,) = (event.detail for event in lab.events("edge") if event.event == "captured")
    assert event["packets"] > 2 * test_broken_links.TIMESTEPS
    assert (lab.node_folder("edge") / "data.pcap").stat().st_size > 24
    assert not (lab.node_folder("cloud") / "data.pcap").exists()
