"""An interface's queues taken over and given back, on this machine's kernel, in namespaces of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devices.base.errors import DeviceError
from devices.journal import Journal, restore_left_behind
from devices.machine import Machine, NeedsRootError
from devices.netlink import KernelError, Netlink
from devices.settings import qdisc
from devices.settings.applied import undos
from tests.fakes.wire import Wire, why_not

OURS = "tc qdisc add dev wire root handle 7e57: htb"
OWNERS = "tc qdisc add dev wire root handle 8: tbf rate 1mbit burst 5000 limit 9000"
pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.close()


def root_of(wire: Wire) -> str:
    return str(json.loads(wire.edge.run("tc -j qdisc show dev wire"))[0]["kind"])


def journal(folder: Path, boot: str = "boot-1") -> Journal:
    return Journal(folder, "run 7, repeat 2, as orin-01", boot, undos(Machine()))


def take_over(wire: Wire, journal: Journal) -> None:
    def record(kind: str, target: str, what: str, before: Any) -> None:
        journal.record(kind, target, what, dict(before))

    with wire.edge.inside(), Netlink() as netlink:
        qdisc.take_over(netlink, "wire", "shaped", record)
    wire.edge.run(OURS)


def test_the_kernels_own_queue_is_taken_over_and_given_back(wire: Wire, tmp_path: Path) -> None:
    before = wire.edge.run("tc qdisc show dev wire")
    run = journal(tmp_path)
    take_over(wire, run)
    assert root_of(wire) == "htb"
    with wire.edge.inside():
        assert run.restore() == ["queue of wire noqueue → shaped (htb 7e57:)"]
    assert wire.edge.run("tc qdisc show dev wire") == before


def test_a_queue_that_its_owner_configured_is_refused_and_stays(wire: Wire, tmp_path: Path) -> None:
    wire.edge.run(OWNERS)
    with pytest.raises(DeviceError, match=r"wire has qdisc tbf 8:, configured by its owner, .* `shaping: user`"):
        take_over(wire, journal(tmp_path))
    assert root_of(wire) == "tbf"
    assert not list(tmp_path.glob("*.journal"))


def test_a_queue_of_ours_without_a_journal_is_named_with_what_removes_it(wire: Wire, tmp_path: Path) -> None:
    wire.edge.run(OURS)
    with pytest.raises(
        DeviceError, match=r"qdisc htb 7e57:, of another run, or left by .*`tc qdisc del dev wire root`"
    ):
        take_over(wire, journal(tmp_path))


def test_what_its_owner_put_there_meanwhile_is_left_alone(wire: Wire, tmp_path: Path) -> None:
    run = journal(tmp_path)
    take_over(wire, run)
    wire.edge.run("tc qdisc del dev wire root")
    wire.edge.run(OWNERS)
    with wire.edge.inside():
        run.restore()
    assert root_of(wire) == "tbf"


def test_an_interface_that_is_gone_took_its_queues_with_it(wire: Wire, tmp_path: Path) -> None:
    run = journal(tmp_path)
    take_over(wire, run)
    wire.edge.run("ip link del wire")
    with wire.edge.inside():
        assert run.restore() == ["queue of wire noqueue → shaped (htb 7e57:)"]


def test_after_a_reboot_nothing_is_touched(wire: Wire, tmp_path: Path) -> None:
    run = journal(tmp_path, "boot-1")
    take_over(wire, run)
    # The process that wrote it is gone, and with it the lock.
    for path in tmp_path.glob("*.journal"):
        text = path.read_bytes()
        path.unlink()
        path.write_bytes(text)
    with wire.edge.inside():
        (found,) = restore_left_behind(tmp_path, undos(Machine()), "boot-2")
    assert found.restored == ["queue of wire noqueue → shaped (htb 7e57:) (undone by the reboot since)"]
    assert root_of(wire) == "htb"
    assert not list(tmp_path.glob("*.journal"))


def test_without_the_right_it_says_what_to_type(wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Netlink, interface: str) -> None:
        raise KernelError(1, "")

    run = journal(tmp_path)
    take_over(wire, run)
    with monkeypatch.context() as patched, wire.edge.inside():
        patched.setattr(Netlink, "delete_root", refuse)
        with pytest.raises(NeedsRootError) as raised:
            qdisc.undo(Machine(), {"interface": "wire", "kind": "noqueue"})
    assert "needs root or the capability CAP_NET_ADMIN; by hand: `sudo tc qdisc del dev wire root`" in str(raised.value)
    with wire.edge.inside():
        run.restore()


def test_queues_are_listed_as_tc_lists_them(wire: Wire) -> None:
    wire.edge.run(OWNERS)
    wire.edge.run("tc qdisc add dev wire handle ffff: ingress")
    with wire.edge.inside(), Netlink() as netlink:
        found = netlink.queues("wire")
    assert [qdisc.name(queue) for queue in found] == ["qdisc tbf 8:"]


def test_the_interface_is_the_one_on_which_the_route_goes(wire: Wire) -> None:
    with wire.edge.inside(), Netlink() as netlink:
        towards = [netlink.interface_towards(address) for address in ("10.9.0.2", "fd09::2", "127.0.0.1", "10.9.0.1")]
        assert towards == ["wire", "wire", "lo", "lo"]
        with pytest.raises(DeviceError, match="Network is unreachable"):
            netlink.interface_towards("192.0.2.1")


def test_what_the_kernel_says_of_a_refusal_is_passed_on(wire: Wire) -> None:
    with wire.edge.inside(), Netlink() as netlink, pytest.raises(KernelError) as raised:
        netlink.delete_root("wire")
    assert raised.value.errno == 2
    assert "Cannot delete qdisc with handle of zero" in str(raised.value)
