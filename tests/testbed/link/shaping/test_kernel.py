"""The kernel's queues shape a real connection between two namespaces, and leave nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.base.errors import DeviceError
from devices.links.conditions import Capacity, Direction
from devices.machine import Machine
from devices.settings.applied import put_back
from testbed.errors import LinkError
from testbed.link.shaping.available import has_net_admin, unable
from testbed.link.shaping.kernel import KernelShaper
from testbed.link.shaping.options import Flow
from testbed.link.shaping.shaper import Disturbance
from tests.calm import in_a_calm_moment
from tests.fakes.wire import Namespace, Wire, why_not

ROOT = Path(__file__).parents[4]
PORT, SSH = 5555, 22
IP_SHARE = 1448 / 1500
"""Of an IP packet, what TCP with timestamps carries."""

SHAPE_AND_DIE = """
import os, signal, sys
from devices.links.conditions import Capacity, Direction
from devices.machine import Machine
from testbed.link.shaping.kernel import KernelShaper
from testbed.link.shaping.options import Flow
trace = Capacity(ms=[0, 100, 200], bytes=[0, 100_000, 110_000])
KernelShaper(Machine(), "run 7, repeat 2, as orin-01", [Flow("10.9.0.2", 5555, True, Direction(capacity=trace))])
os.kill(os.getpid(), signal.SIGKILL)
"""
pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


def steady(mbit_s: float) -> Direction:
    return Direction(capacity=Capacity(ms=[0, 1000], bytes=[0, round(125_000 * mbit_s)]))


@pytest.fixture(scope="module")
def reasons() -> list[str]:
    """Why this kernel cannot."""
    with contextlib.closing(Wire()) as made, made.edge.inside():
        return unable(Machine(), [Flow("10.9.0.2", PORT, True, steady(1))])


@pytest.fixture
def wire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reasons: list[str]) -> Iterator[Wire]:
    if reasons:
        pytest.skip("; ".join(reasons))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    made = Wire()
    yield made
    made.close()


@contextlib.contextmanager
def shaped(
    wire: Wire, direction: Direction, peer: str = "10.9.0.2", port: int = PORT, to_port: bool = True
) -> Iterator[KernelShaper]:
    """What the edge sends; the shaper is closed at the end, and has left nothing."""
    before = wire.edge.run("tc qdisc show")
    with wire.edge.inside():
        shaper = KernelShaper(Machine(), "run 1, repeat 0, as edge", [Flow(peer, port, to_port, direction)])
    try:
        yield shaper
    finally:
        with wire.edge.inside():
            shaper.close()
    assert wire.edge.run("tc qdisc show") == before


class Stream:
    """A connection from the edge that is filled as long as it lasts; `had` counts what got through."""

    def __init__(self, wire: Wire, port: int, at: Namespace | None = None, address: str = "10.9.0.2") -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with (at or wire.cloud).inside(), socket.create_server((address, port), family=family) as server:
            with wire.edge.inside():
                self.sender = socket.create_connection((address, port))
            self.receiver, _ = server.accept()
        self.had, self._stop = 0, threading.Event()
        self.arrived = threading.Event()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._send, self._receive)]

    def __enter__(self) -> Stream:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for each in (self.receiver, self.sender):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self.receiver.close()
        self.sender.close()

    def mbit_s(self, seconds: float) -> float:
        """The rate of IP packets from now on."""
        before, start = self.had, time.monotonic()
        time.sleep(seconds)
        return 8e-6 * (self.had - before) / IP_SHARE / (time.monotonic() - start)

    def _send(self) -> None:
        with contextlib.suppress(OSError):
            while not self._stop.is_set():
                self.sender.sendall(bytes(16_384))

    def _receive(self) -> None:
        with contextlib.suppress(OSError):
            while got := len(self.receiver.recv(1 << 20)):
                self.had += got
                self.arrived.set()


@pytest.mark.parametrize(("mbit_s", "address"), [(2.0, "10.9.0.2"), (40.0, "10.9.0.2"), (8.0, "fd09::2")])
def test_the_rate_is_the_one_that_was_asked_for(wire: Wire, mbit_s: float, address: str) -> None:
    with shaped(wire, steady(mbit_s), address) as shaper, Stream(wire, PORT, address=address) as stream:
        assert shaper.interfaces == ["wire"]
        stream.mbit_s(0.2)

        def is_the_one() -> None:
            assert stream.mbit_s(1.0) == pytest.approx(mbit_s, rel=0.15)

        in_a_calm_moment(is_the_one)
        with wire.edge.inside():
            shaper.check()


def test_ssh_and_other_ports_are_not_shaped(wire: Wire) -> None:
    with shaped(wire, steady(0.1)), Stream(wire, PORT), Stream(wire, SSH) as ssh:

        def is_free() -> None:
            assert ssh.mbit_s(0.3) > 20

        in_a_calm_moment(is_free)


def test_another_peers_data_is_not_shaped(wire: Wire) -> None:
    wire.cloud.run("ip addr add 10.9.0.3/24 dev wire")
    with shaped(wire, steady(0.1)), Stream(wire, PORT, address="10.9.0.3") as other:

        def is_free() -> None:
            assert other.mbit_s(0.3) > 20

        in_a_calm_moment(is_free)


def test_the_cloud_shapes_what_leaves_from_its_port(wire: Wire) -> None:
    # The wire is the same from both ends: here the edge's end plays the cloud that answers from the port.
    with wire.edge.inside(), socket.create_server(("10.9.0.1", PORT)) as server:
        with wire.cloud.inside():
            asking = socket.create_connection(("10.9.0.1", PORT))
        answering, _ = server.accept()
    sent = 60_000
    with shaped(wire, steady(1.0), to_port=False), asking, answering:
        start = time.monotonic()
        threading.Thread(target=answering.sendall, args=(bytes(sent),), daemon=True).start()
        left = sent
        while left:
            left -= len(asking.recv(left))
        assert time.monotonic() - start > 0.8 * 8e-6 * sent / IP_SHARE


def test_loopback_is_shaped_too(wire: Wire) -> None:
    with shaped(wire, steady(20.0), "127.0.0.1"), Stream(wire, PORT, wire.edge, "127.0.0.1") as stream:
        stream.mbit_s(0.3)

        def is_shaped() -> None:
            # Its packets are 64 KB.
            assert stream.mbit_s(1.5) == pytest.approx(20 * IP_SHARE, rel=0.25)

        in_a_calm_moment(is_shaped)


def test_a_trace_is_followed_from_arm_on_and_begins_anew_at_its_end(wire: Wire) -> None:
    trace = Capacity(ms=[0, 500, 1000], bytes=[0, 500_000, 550_000])
    with shaped(wire, Direction(capacity=trace)) as shaper, Stream(wire, PORT) as stream:
        stream.arrived.wait(5)

        def is_followed() -> None:
            shaper.arm()
            fast, slow, again = (stream.mbit_s(0.5) for _ in range(3))
            assert fast == pytest.approx(8.0, rel=0.3)
            assert slow < 2.5
            assert again == pytest.approx(8.0, rel=0.3)

        in_a_calm_moment(is_followed)


def test_while_the_link_is_down_nothing_passes_and_what_waited_goes_on_at_once(wire: Wire) -> None:
    with shaped(wire, steady(5.0)) as shaper, Stream(wire, PORT) as stream:
        stream.mbit_s(0.2)
        shaper.disturb(Disturbance(down=True))

        def nothing_passes() -> None:
            assert stream.mbit_s(0.3) == 0  # but what was on its way, at first

        in_a_calm_moment(nothing_passes)
        stream.arrived.clear()
        shaper.disturb(Disturbance())
        assert stream.arrived.wait(5)

        def it_goes_on() -> None:
            assert stream.mbit_s(1.0) > 3

        in_a_calm_moment(it_goes_on)


def test_a_rate_drop_lasts_until_the_next_disturbance(wire: Wire) -> None:
    with shaped(wire, steady(10.0)) as shaper, Stream(wire, PORT) as stream:
        stream.mbit_s(0.2)
        for share, mbit_s in ((0.2, 2.0), (None, 10.0)):
            shaper.disturb(Disturbance() if share is None else Disturbance(rate=share))

            def lasts(mbit_s: float = mbit_s) -> None:
                assert stream.mbit_s(0.7) == pytest.approx(mbit_s, rel=0.3)

            in_a_calm_moment(lasts)


def test_a_link_with_delay_is_shaped_or_the_missing_module_named(wire: Wire) -> None:
    direction = Direction(delay_ms=20)
    with wire.edge.inside():
        lacking = unable(Machine(), [Flow("10.9.0.2", PORT, True, direction)])
    if lacking:
        missing = r"no netem \(module sch_netem\): .*; install its modules, or use `shaping"
        with pytest.raises(LinkError, match=missing), shaped(wire, direction):
            pass
        assert lacking == [line for line in lacking if line.startswith("this kernel has no netem (module sch_netem)")]
        assert json.loads(wire.edge.run("tc -j qdisc show dev wire"))[0]["kind"] == "noqueue"
    else:
        with shaped(wire, direction), Stream(wire, PORT) as stream:
            start = time.monotonic()
            assert stream.arrived.wait(5)
            assert time.monotonic() - start > 0.015


def test_a_killed_worker_leaves_it_to_the_next_contact(wire: Wire) -> None:
    before = wire.edge.run("tc qdisc show")
    with wire.edge.inside():
        died = subprocess.run(
            [sys.executable, "-c", SHAPE_AND_DIE], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
        )
    assert died.returncode == -signal.SIGKILL
    assert "qdisc htb 7e57: root" in wire.edge.run("tc qdisc show dev wire")
    with wire.edge.inside():
        (line,) = put_back(Machine())
    assert line == (
        "put back what run 7, repeat 2, as orin-01 left changed: "
        "queue of wire noqueue → shaped towards 10.9.0.2, port 5555 (htb 7e57:)"
    )
    assert wire.edge.run("tc qdisc show") == before


def test_two_runs_do_not_shape_one_interface(wire: Wire) -> None:
    with shaped(wire, steady(1.0)) as first, wire.edge.inside():
        with pytest.raises(DeviceError, match=r"wire has qdisc htb 7e57:"):
            KernelShaper(Machine(), "run 2", [Flow("10.9.0.2", PORT, True, steady(1.0))])
        first.check()


def test_an_owners_queue_is_a_reason_and_stays(wire: Wire) -> None:
    wire.edge.run("tc qdisc add dev wire root handle 8: tbf rate 1mbit burst 5000 limit 9000")
    flow = Flow("10.9.0.2", PORT, True, steady(1.0))
    with wire.edge.inside():
        (reason,) = unable(Machine(), [flow])
        with pytest.raises(DeviceError, match="configured by its owner") as raised:
            KernelShaper(Machine(), "run 2", [flow])
    assert str(raised.value) == reason
    assert "qdisc tbf 8: root" in wire.edge.run("tc qdisc show dev wire")


def test_queues_that_somebody_removed_are_noticed(wire: Wire) -> None:
    with shaped(wire, steady(1.0)) as shaper:
        wire.edge.run("tc qdisc del dev wire root")
        missing = "wire is no longer shaped: somebody put qdisc noqueue 0: there"
        with wire.edge.inside(), pytest.raises(LinkError, match=missing):
            shaper.check()


def test_two_flows_of_one_interface_have_a_rate_each(wire: Wire) -> None:
    wire.cloud.run("ip addr add 10.9.0.3/24 dev wire")
    flows = [Flow("10.9.0.2", PORT, True, steady(2.0)), Flow("10.9.0.3", PORT, True, steady(8.0))]
    with wire.edge.inside():
        shaper = KernelShaper(Machine(), "run 1", flows)
    try:
        with Stream(wire, PORT) as slow, Stream(wire, PORT, address="10.9.0.3") as fast:
            slow.mbit_s(0.2)

            def each_has_its_own() -> None:
                before, rate = slow.had, fast.mbit_s(1.0)
                assert rate == pytest.approx(8.0, rel=0.2)
                assert 8e-6 * (slow.had - before) / IP_SHARE == pytest.approx(2.0, rel=0.2)

            in_a_calm_moment(each_has_its_own)
    finally:
        with wire.edge.inside():
            shaper.close()


def test_without_the_capability_it_is_a_reason(tmp_path: Path) -> None:
    status = tmp_path / "proc/self/status"
    status.parent.mkdir(parents=True)
    status.write_text("Name:\tpython\nCapEff:\t00000000a80425fb\n")
    assert not has_net_admin(Machine(tmp_path))
    status.write_text("Name:\tpython\nCapEff:\t0000000000001000\n")
    assert has_net_admin(Machine(tmp_path))
