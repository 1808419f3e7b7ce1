"""Traces that ship: made here from a seed, like what radios do, measured nowhere.

    python -m devices.links.synthetic

writes them anew beside their profiles, byte for byte the same everywhere: sums and products of `random.random()` alone,
rounded, and nothing of a library whose last digit depends on the machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

HEADER = "ms,up_mbit_s,down_mbit_s"


def lte_drive(seed: int = 11) -> str:
    """A car in a city for 4 min, a row for each 250 ms.

    The rate rises towards each base station and falls away from it; a handover of one row follows. Shadows of
    buildings come and go slowly, and fades take most of the rate for up to 2 s.
    """
    random = Random(seed)  # noqa: S311  (no secret is made)
    shadow, fade, left, length = 0.0, 0, 0, 1
    rows = [HEADER]
    for row in range(960):
        if left == 0:
            left = length = 120 + int(random.random() * 120)
        left -= 1
        near = 1 - abs(2 * left / length - 1)
        shadow = 0.95 * shadow + 0.3 * _noise(random)
        fade = fade - 1 if fade else int(2 + random.random() * 6) * (random.random() < 0.02)
        rate = max(0.3, 16 * (0.2 + near) * (1 + 0.3 * max(-2.5, min(2.5, shadow)))) * (0.1 if fade else 1)
        down = rate * (1 + 0.1 * _noise(random))
        up = 0.55 * rate * (1 + 0.15 * _noise(random))
        rows.append(f"{row * 250},{_written(up, left > 0)},{_written(down, left > 0)}")
    return "\n".join(rows) + "\n"


def wifi_interference(seed: int = 12) -> str:
    """A minute of Wi-Fi, a row for each 50 ms: bursts of other stations, and from 25 to 40 s a neighbour's download.

    The medium is shared, so one column is for both directions.
    """
    random = Random(seed)  # noqa: S311  (no secret is made)
    burst, share = 0, 1.0
    lines = []
    for row in range(1200):
        busy = 500 <= row < 800
        if burst == 0 and random.random() < (0.15 if busy else 0.025):
            burst, share = 1 + int(random.random() * 12), 0.08 + 0.5 * random.random()
        rate = 40 * (share if burst else 1) * (0.7 if busy else 1) * (1 + 0.05 * _noise(random))
        burst = max(0, burst - 1)
        lines.append(f"{row * 0.05:.2f}\t{_written(rate, True)}")
    return "\n".join(lines) + "\n"


def threeg_outages(seed: int = 13) -> str:
    """A train ride on 3G for 5 min, a row for each second; about every 40 s nothing passes for 3 to 14 s.

    Before an outage the rate falls for 3 s.
    """
    random = Random(seed)  # noqa: S311  (no secret is made)
    shadow, until, outage = 0.0, 30, 0
    rows = [HEADER]
    for row in range(300):
        if until == 0 and outage == 0:
            outage, until = 3 + int(random.random() * 12), 20 + int(random.random() * 40)
        shadow = 0.8 * shadow + 0.6 * _noise(random)
        rate = max(0.15, 1 + 0.35 * shadow) * min(1.0, until / 4)
        up = 0.8 * rate * (1 + 0.1 * _noise(random))
        down = 2.2 * rate * (1 + 0.1 * _noise(random))
        rows.append(f"{row * 1000},{_written(up, outage == 0)},{_written(down, outage == 0)}")
        until, outage = (until - 1, 0) if outage == 0 else (until, outage - 1)
    return "\n".join(rows) + "\n"


def _noise(random: Random) -> float:
    """About a standard normal deviate, bounded by 6."""
    total = -6.0
    # Not `sum`: from Python 3.12 on it rounds otherwise.
    for _ in range(12):
        total += random.random()
    return total


def _written(mbit_s: float, passes: bool) -> str:
    return f"{max(0.05, mbit_s) if passes else 0:.2f}"


TRACES: dict[str, Callable[..., str]] = {
    "lte-drive.csv": lte_drive,
    "wifi-interference.tsv": wifi_interference,
    "3g-outages.csv": threeg_outages,
}


def main() -> None:
    """Write them all beside this file."""
    for name, make in TRACES.items():
        (Path(__file__).parent / name).write_text(make())
        sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    main()
