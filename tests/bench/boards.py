"""The emulated boards that ship: their figures, what networks take on them, and what was published of other networks.

Nothing is measured here: all of it is what the profiles say. The tables stand in docs/hardware.md.
"""

from __future__ import annotations

from devices.power.emulated import EmulatedPower
from tests.made.published import (
    EMULATED,
    FULL_WIDTH,
    PUBLISHED,
    QUICKSTART_STEP,
    SOURCES,
    emulated,
    roofline,
)


def figures() -> str:
    """A row for each board: its rates, its overheads, its power, and how long a small and a large network take."""
    rows = []
    for name in EMULATED:
        profile = emulated(name)
        time, [power] = roofline(profile), profile.power
        assert isinstance(power, EmulatedPower)
        rates = (time.gmacs_per_s, time.int8_gmacs_per_s, time.gbytes_per_s)
        overheads = (time.call_overhead_us, time.layer_overhead_us, time.code_overhead_us)
        watts = (None if mw is None else mw / 1000 for mw in (power.idle_mw, power.cpu_busy_mw, power.gpu_busy_mw))
        taken = (f"{time.call_ns(work) / 1e6:.2f}" for work in (QUICKSTART_STEP, FULL_WIDTH))
        rows.append([f"`{name}`", *map(_number, (*rates, *overheads, *watts)), *taken])
    header = ["profile", "GMAC/s", "int8", "GB/s", "call [µs]", "layer [µs]", "code [µs]"]
    return _table([*header, "idle [W]", "CPU [W]", "GPU [W]", "step [ms]", "full width [ms]"], rows)


def comparison() -> str:
    """A row for each network that somebody measured on one of the boards."""
    rows = [
        [
            f"`{one.board}`",
            one.network,
            f"[{one.software}]({SOURCES[one.software]})",
            f"{one.ms:g}",
            f"{one.modelled_ms:.1f}",
            f"{one.ratio:.2f}",
        ]
        for one in PUBLISHED
    ]
    return _table(["board", "network", "measured with", "published [ms]", "modelled [ms]", "ratio"], rows)


def run() -> None:
    """Print both tables."""
    print(f"{figures()}\n\n{comparison()}")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
