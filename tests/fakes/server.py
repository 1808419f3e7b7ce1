"""The energy counters of a server with two processors (RAPL), whose power moves."""

from __future__ import annotations

import numpy as np

from tests.fakes.sysfs import FakeTree

PERIOD_S = 32


def energy_uj(base_mw: float, t_ns: int) -> int:
    """Of a power that swings by half around its base, slowly enough for what a stalled sampler makes of it."""
    t_s = t_ns / 1e9
    return round(base_mw * 1000 * (t_s + PERIOD_S * (1 - np.cos(2 * np.pi * t_s / PERIOD_S)) / (4 * np.pi)))


def power_mw(base_mw: float, t_ns: float) -> float:
    return base_mw * (1 + np.sin(2 * np.pi * t_ns / 1e9 / PERIOD_S) / 2)


def fill(tree: FakeTree) -> None:
    tree.rapl("intel-rapl:0", "package-0", lambda t_ns: energy_uj(40_000, t_ns), 65_532_610)
    tree.rapl("intel-rapl:0:0", "core", lambda t_ns: energy_uj(30_000, t_ns), 65_532_610)
    tree.rapl("intel-rapl:0:1", "dram", lambda t_ns: energy_uj(5_000, t_ns), 65_532_610)
    tree.rapl("intel-rapl:1", "package-1", lambda t_ns: energy_uj(20_000, t_ns), 10_000_000)
    tree.rapl("intel-rapl:2", "psys", lambda t_ns: energy_uj(90_000, t_ns), 65_532_610)
