"""What a sampler wrote: read, waited for, integrated."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np


def lines_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()]


def wait_for_lines(out: Path, count: int) -> None:
    deadline = time.monotonic() + 30
    while not out.exists() or out.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline, f"the sampler did not write {count} samples"
        time.sleep(0.005)


def more_lines(out: Path, count: int) -> None:
    wait_for_lines(out, (len(lines_of(out)) if out.exists() else 0) + count)


def unseen_s(lines: list[dict[str, Any]], beyond_s: float = 0.02) -> float:
    """How long a sampler that takes a sample every 10 ms took none, because it or the machine stood still."""
    pauses_s = np.diff([line["t_ns"] for line in lines]) / 1e9
    return float(pauses_s[pauses_s > beyond_s].sum())


def integrate_mj(lines: list[dict[str, Any]], start_ns: int, end_ns: int) -> float:
    t_ns = np.array([line["t_ns"] for line in lines])
    mw = np.array([line["mw"] for line in lines])
    inside = t_ns[(t_ns > start_ns) & (t_ns < end_ns)]
    points = np.concatenate([[start_ns], inside, [end_ns]])
    power = np.interp(points, t_ns, mw)
    return float(np.sum((power[1:] + power[:-1]) / 2 * np.diff(points))) / 1e9
