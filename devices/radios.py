"""The radios of links: what one adds to a board's power while it sends, receives and waits.

The model is that of Huang et al. (A Close Examination of Performance and Power Characteristics of 4G LTE Networks,
MobiSys 2012): a slope for each Mbit/s of throughput, and a base power while the radio is on, whatever the throughput.
A transfer costs

    up_mj_per_mbit · Mbit up + down_mj_per_mbit · Mbit down + active_mw · time on + tail_mw · tail_s   [mJ]

A slope in mW per Mbit/s, as published, is the same number in mJ per Mbit. The wake-up from idle is left out.

To add a radio is to add one here, and its word to `Technology`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from devices.links.conditions import Link, Technology


class Radio(msgspec.Struct, frozen=True, kw_only=True):
    """What a radio adds to the power of the board that it is on.

    Attributes:
        name: for the manifest.
        up_mj_per_mbit: for IP packets that are sent.
        down_mj_per_mbit: for those that are received.
        active_mw: while a message or its answer is under way.
        tail_mw: after that, for `tail_s`, unless the next message comes first.
        tail_s: how long.
        source: where each figure comes from.
    """

    name: str
    up_mj_per_mbit: float = 0.0
    down_mj_per_mbit: float = 0.0
    active_mw: float
    tail_mw: float = 0.0
    tail_s: float = 0.0
    source: str

    def traffic_nj(self, up_bytes: int, down_bytes: int) -> int:
        """What so many bytes take beside the time that they are under way, in nJ."""
        return round(8 * (self.up_mj_per_mbit * up_bytes + self.down_mj_per_mbit * down_bytes))


_HUANG = (
    "Huang et al., A Close Examination of Performance and Power Characteristics of 4G LTE Networks, MobiSys 2012: "
    "model of data transfer (slopes, base) and table of states (tail). The paper itself was not at hand. "
)

RADIOS: Mapping[Technology, Radio] = {
    "wifi": Radio(
        name="Wi-Fi, Huang et al. 2012",
        up_mj_per_mbit=283.17,
        down_mj_per_mbit=137.01,
        active_mw=132.86,
        tail_mw=119.3,
        tail_s=0.2381,
        source=_HUANG
        + "Up and base: as later works quote them after Eshratifar et al., JointDNN, 2018. Down and tail: not found "
        "quoted; but the tail and a wake-up of 124.4 mW for 79.1 ms are the 0.04 J that the paper is quoted with "
        "for a single packet.",
    ),
    "lte": Radio(
        name="LTE, Huang et al. 2012",
        up_mj_per_mbit=438.39,
        down_mj_per_mbit=51.97,
        active_mw=1288.04,
        tail_mw=1060.0,
        tail_s=11.576,
        source=_HUANG
        + "All five: as later works quote them. The tail is 12.3 J of the 12.76 J that the paper is quoted with for "
        "a single packet.",
    ),
    "3g": Radio(
        name="3G, Huang et al. 2012",
        up_mj_per_mbit=868.98,
        down_mj_per_mbit=122.12,
        active_mw=817.88,
        tail_mw=785.2,
        tail_s=8.9124,
        source=_HUANG
        + "Up and base: as later works quote them after Eshratifar et al., JointDNN, 2018. Down: not found quoted. "
        "Tail: 803.9 mW for 8.0882 s and 601.3 mW for 0.8242 s, here one of the same energy; not found quoted, but "
        "with a wake-up of 659.4 mW for 582.1 ms it is the 7.38 J that the paper is quoted with for a single "
        "packet.",
    ),
    "5g": Radio(
        name="5G in a low band, Narayanan et al. 2021",
        up_mj_per_mbit=29.15,
        down_mj_per_mbit=13.52,
        active_mw=249.0,
        tail_mw=249.0,
        tail_s=10.2,
        source="Narayanan et al., A Variegated Look at 5G in the Wild, SIGCOMM 2021: slopes of a Galaxy S20 Ultra in a "
        "low band (table 8), power of the tail (table 2) and its length (table 7) in Verizon's non-standalone "
        "network. Base: chosen, that of the tail, since none is given without the phone; low rather than high. "
        "Millimetre waves there have slopes of 9.42 and 1.81, and a tail of 1092 mW for 10.5 s.",
    ),
    "nb-iot": Radio(
        name="NB-IoT, module M5311",
        up_mj_per_mbit=1627.2,
        active_mw=194.4,
        source="M5Stack, documentation of Module NBIoT (M028): its M5311 takes 167 mA while it sends at 23 dBm, and "
        "54 mA while it receives. Chosen: 3.6 V. Base: it listens throughout, at 54 mA. Up: the 113 mA above that, for "
        "4 s each Mbit (1,000 bits in 4 ms, as in devices/links/nb-iot.yaml). Tail: none. How long a module stays "
        "connected is up to the operator (Michelinakis et al., Dissecting Energy Consumption of NB-IoT Devices "
        "Empirically, 2020, abstract), and no figure was found that could be checked. So a message that comes "
        "alone costs too little.",
    ),
    "ethernet": Radio(
        name="Gigabit Ethernet transceiver",
        active_mw=450.0,
        source="Yamasaki, Two Ways to Save Power with Low-Power Ethernet, Texas Instruments SSZTAM3, November 2016: an "
        "active 10/100/1000 Mbit/s transceiver takes 450 mW to over 1,000 mW; the least of these. Chosen: it "
        "sleeps between messages (IEEE 802.3az), and bytes cost nothing beside the time that they are under way.",
    ),
}


def radio_of(link: Link | None, own_mw: float, own_source: str) -> Radio:
    """The radio of a link; the board's own where none is asked for, or one whose technology is `other`.

    Args:
        link: What the cell asks for.
        own_mw: What the board's own radio adds while it is on.
        own_source: Where that comes from.
    """
    if link is None or link.technology not in RADIOS:
        return Radio(name="the board's own", active_mw=own_mw, source=own_source)
    return RADIOS[link.technology]
