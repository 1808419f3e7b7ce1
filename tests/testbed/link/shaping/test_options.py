"""Requests for the kernel's queues, byte for byte as `tc` sends them (iproute2 6.1, seen with strace)."""

from __future__ import annotations

import math
import struct
import sys
from typing import Any

import pytest

from devices.links.conditions import Capacity, Direction
from testbed.errors import LinkError
from testbed.link.shaping.buckets import FASTEST
from testbed.link.shaping.options import netem, new_message, selector, tbf

NETEM = (  # tc qdisc add dev lo root netem delay 20ms 5ms loss 1% limit 1234 rate 10gbit
    "b4c40400d2040000295c8f0200000000000000002d31010014000600807c814a000000000000000000000000"
)
SELECTOR = (  # u32 match ip protocol 6 0xff match ip dst 10.9.0.2 match ip dport 5555 0xffff: mask, value, offset
    "00ff0000" "00060000" "08000000" "00000000"
    "ffffffff" "0a090002" "10000000" "00000000"
    "0000ffff" "000015b3" "14000000" "00000000"
)  # fmt: skip


def body(kind: str, options: Any) -> bytes:
    """What follows the attributes TCA_KIND and TCA_OPTIONS' own header."""
    message = new_message()
    message["attrs"] = [("TCA_KIND", kind), ("TCA_OPTIONS", options)]
    message.encode()
    return bytes(message.data[36 + 4 + (len(kind) + 1 + 3 & ~3) + 4 :])


def test_netem_is_asked_for_as_tc_asks() -> None:
    capacity = Capacity(ms=[0, 1000], bytes=[0, 1_234_000])
    direction = Direction(capacity=capacity, delay_ms=20, jitter_ms=5 / math.sqrt(3), loss=0.01, queue_ms=980)
    assert body("netem", netem(direction, 0.0, mtu=1000)).hex() == NETEM


def test_netem_counts_ticks_of_64_ns_shares_of_2_to_the_32_and_packets() -> None:
    options = netem(Direction(delay_ms=30, loss=0.5), extra_ms=10, mtu=1500)
    delay, limit, loss, gap, duplicate, jitter = struct.unpack_from("=6I", body("netem", options))
    assert delay * 64 == 40_000_000
    assert loss == pytest.approx(2**31, abs=1)
    assert (limit, gap, duplicate, jitter) == (1_000_000, 0, 0, 0)


def test_a_rate_keeps_packets_with_jitter_in_order() -> None:
    ((name, rate),) = netem(Direction(jitter_ms=3), 0.0, 1500)["attrs"]
    assert (name, rate["rate"]) == ("TCA_NETEM_RATE", FASTEST)


def test_tbf_queues_single_packets_alone() -> None:
    direction = Direction(capacity=Capacity(ms=[0, 1000], bytes=[0, 1_000_000]), queue_ms=100)
    rate, peak, limit, _, longest = struct.unpack("=4x4xI4x4xIIII", body("tbf", tbf(direction, 1500))[4:])
    assert (rate, limit) == (1, 100_000)
    assert 1518 <= peak * longest * 64 / 1e9 < 2 * 1500


def keys_of(selected: tuple[list[str], int]) -> bytes:
    return body("u32", {"attrs": [("TCA_U32_SEL", {"keys": selected[0]})]})[20:]


def bits(keys: bytes) -> set[tuple[int, int, int]]:
    """Offset, mask and value of each byte that is compared."""
    found = set()
    for mask, value, offset, _ in struct.iter_unpack(">II4s4s", keys):
        for place, shift in enumerate((24, 16, 8, 0)):
            if mask >> shift & 255:
                at = int.from_bytes(offset, sys.byteorder) + place
                found.add((at, mask >> shift & 255, value >> shift & 255))
    return found


def test_a_flow_is_selected_as_tc_selects_it_and_only_without_ip_options() -> None:
    selected = selector("10.9.0.2", 5555, to_port=True)
    assert selected[1] == 0x0800
    assert bits(keys_of(selected)) == bits(bytes.fromhex(SELECTOR)) | {(0, 0xFF, 0x45)}


def test_the_clouds_packets_are_told_by_their_source_port() -> None:
    to, back = (bits(keys_of(selector("10.9.0.2", 5555, to_port))) for to_port in (True, False))
    assert {(20, 0xFF, 0x15), (21, 0xFF, 0xB3)} == back - to


def test_ipv6_is_selected_by_all_of_its_address() -> None:
    selected = selector("fd09::2", 5555, to_port=True)
    assert selected[1] == 0x86DD
    compared = bits(keys_of(selected))
    assert {at for at, _, _ in compared} == {0, 6, *range(24, 40), 42, 43}
    assert {(6, 0xFF, 6), (24, 0xFF, 0xFD), (39, 0xFF, 2), (42, 0xFF, 0x15), (43, 0xFF, 0xB3)} <= compared


def test_without_pyroute2_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyroute2.netlink.rtnl.tcmsg", None)
    with pytest.raises(LinkError, match=r"needs pyroute2, which is not here .*`python -m pip install pyroute2`"):
        new_message()
