"""What the requests for the kernel's queues say, in the kernel's units; pyroute2 puts them into bytes."""

from __future__ import annotations

import ipaddress
import math
import socket
from typing import Any, NamedTuple

from devices.links.conditions import Direction
from testbed.errors import LinkError
from testbed.link.shaping.buckets import FASTEST, frame_bytes

NS_PER_TICK = 64
"""The kernel counts a queue's times in these (PSCHED_SHIFT in net/pkt_sched.h; /proc/net/psched says the same)."""

INSTALL = "python -m pip install pyroute2"
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
_ETHERNET = 1  # TC_LINKLAYER_ETHERNET: no rate table is read
_CLASS_RATE, _CLASS_BURST, _QUANTUM = 4_000_000_000, 4_000_000, 60_000
_PEAK = 4_000_000_000
_ENDLESS_BYTES, _ENDLESS_PACKETS = 1 << 30, 1_000_000
_FEWEST_PACKETS = 10


class Flow(NamedTuple):
    """What is shaped of a node's egress.

    `peer` is the other node's IP address and `port` the data plane's. An edge sends `to_port`; the cloud sends from it.
    """

    peer: str
    port: int
    to_port: bool
    direction: Direction


def new_message() -> Any:
    """An empty request of pyroute2's.

    Raises:
        LinkError: it is not installed.
    """
    try:
        from pyroute2.netlink.rtnl.tcmsg import tcmsg
    except ImportError as error:
        raise LinkError(
            f"shaping by the kernel needs pyroute2, which is not here ({error}); `{INSTALL}`, or use `shaping: user`"
        ) from None
    return tcmsg()


def htb_class() -> dict[str, Any]:
    """The options of a class of htb that holds nothing back: struct tc_htb_opt."""
    spec = {"rate": _CLASS_RATE, "rate___reserved": _ETHERNET, "ceil": _CLASS_RATE, "ceil___reserved": _ETHERNET}
    burst = ticks(1e9 * _CLASS_BURST / _CLASS_RATE)
    parms = {**spec, "buffer": burst, "cbuffer": burst, "quantum": _QUANTUM, "prio": 0}
    return {"attrs": [("TCA_HTB_PARMS", parms)]}


def tbf(direction: Direction, mtu: int) -> dict[str, Any]:
    """The options of a tbf whose bucket is still to be set: struct tc_tbf_qopt.

    The peak bucket holds one packet, so that nothing longer is queued: what does not fit a smaller bucket that a trace
    asks for later would stay in the queue for ever.
    """
    peak = {"peak": _PEAK, "peak___reserved": _ETHERNET, "mtu": ticks_up(1e9 * frame_bytes(mtu) / _PEAK)}
    limit = _limit_bytes(direction, mtu)
    parms = {"rate": 1, "rate___reserved": _ETHERNET, "limit": limit, "buffer": 1, **peak}
    return {"attrs": [("TCA_TBF_PARMS", parms)]}


def needs_netem(direction: Direction) -> bool:
    """Whether it has what a rate alone does not do."""
    return bool(direction.delay_ms or direction.jitter_ms or direction.loss)


def netem(direction: Direction, extra_ms: float, mtu: int) -> dict[str, Any]:
    """The options of netem: struct tc_netem_qopt, and a rate.

    `delay` and `jitter` are in ticks, `loss` is a share of 2^32 - 1, `limit` counts packets that are held. Without a
    table netem draws evenly from delay ± jitter, whose standard deviation is jitter / sqrt(3).
    With a rate, netem lets no packet overtake another (netem_enqueue in net/sched/sch_netem.c); this one is so high
    that it does nothing else.
    """
    delay_ms = direction.delay_ms + extra_ms
    limit = _ENDLESS_PACKETS
    if direction.queue_ms is not None and direction.capacity is not None:
        held_ms = direction.queue_ms + delay_ms
        limit = max(_FEWEST_PACKETS, math.ceil(direction.capacity.mean_bytes_per_s * held_ms / 1000 / mtu))
    return {
        "delay": ticks(1e6 * delay_ms),
        "limit": limit,
        "loss": round(direction.loss * 0xFFFFFFFF),
        "gap": 0,
        "duplicate": 0,
        "jitter": ticks(1e6 * math.sqrt(3) * direction.jitter_ms),
        "attrs": [
            ("TCA_NETEM_RATE", {"rate": FASTEST, "packet_overhead": 0, "cell_size": 0, "cell_overhead": 0}),
        ],
    }


def selector(peer: str, port: int, to_port: bool, transport: int = socket.IPPROTO_TCP) -> tuple[list[str], int]:
    """What u32 compares (`value/mask+offset` in the IP packet), and the Ethernet protocol.

    Peer and port are the packet's destination, or the port is its source (`to_port` is false).
    """
    address = ipaddress.ip_address(peer)
    if address.version == 4:
        # A header without options (0x45), so that the ports are where they are looked for.
        place, ports, protocol = 16, 20, ETH_P_IP
        keys = ["0x45/0xff+0", f"{transport:#04x}/0xff+9"]
    else:
        place, ports, protocol = 24, 40, ETH_P_IPV6
        keys = ["0x60/0xf0+0", f"{transport:#04x}/0xff+6"]
    for first in range(0, len(address.packed), 4):
        keys.append(f"0x{address.packed[first : first + 4].hex()}/0xffffffff+{place + first}")
    keys.append(f"{port:#06x}/0xffff+{ports + (2 if to_port else 0)}")
    return keys, protocol


def ticks(ns: float) -> int:
    """A time as the kernel's queues count it."""
    return round(ns / NS_PER_TICK)


def ticks_up(ns: float) -> int:
    """The same, of a time that must not be shortened."""
    return math.ceil(ns / NS_PER_TICK)


def _limit_bytes(direction: Direction, mtu: int) -> int:
    if direction.queue_ms is None or direction.capacity is None:
        return _ENDLESS_BYTES
    held = round(direction.capacity.mean_bytes_per_s * direction.queue_ms / 1000)
    return max(_FEWEST_PACKETS * frame_bytes(mtu), held)
