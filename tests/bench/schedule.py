"""What `schedule: auto` chose against every schedule there is, measured in one campaign; emulated edge and server."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

from testbed.modes.schedule import schedules
from tests.bench.emulation import CLOUD, EDGE
from tests.bench.request import ROOT, Silent

TARGET = 1.05
TIMESTEPS = 4
CASES = ((5.0, 0.98), (20.0, 0.99), (60.0, 0.8), (20.0, None))
"""Round trips in ms and α: nearly all requests exit at once, half of them go on to the end, or all do."""

CELL = {"mode": "co_inference", "model": "coded", "codec": "packed"}


def run() -> None:
    """Print the table."""
    print(f"{'':34} {'mean ms':>9} {'best':>9} {'auto / best':>12} {'expected':>9} {'the best one':>16}")
    print(f"{'to reach':34} {'':>9} {'':>9} {f'≤ {TARGET}':>12}")
    with tempfile.TemporaryDirectory() as name:
        for rtt_ms, alpha in CASES:
            print(_line(Path(name), rtt_ms, alpha))


def _line(folder: Path, rtt_ms: float, alpha: float | None) -> str:
    from testbed.campaign import Campaign, make_plan
    from testbed.record.documents import Invocation
    from testbed.record.reader import read_cell

    every = list(schedules(TIMESTEPS, range(1, TIMESTEPS + 1)))
    own = [{"window": each.window, "chunks": list(each.chunks)} for each in every]
    exit_rule = {} if alpha is None else {"exit": {"threshold": alpha}}
    document = {
        "name": "schedules",
        "models": {"coded": {"recipe": str(ROOT / "experiments/train/digits-resnet18.yaml"), "variant": "coded"}},
        "nodes": {"edge": str(EDGE), "cloud": str(CLOUD)},
        "link": {"like": "ethernet", "mbit_s": 100, "rtt_ms": rtt_ms, "loss": 0},
        "scenario": {"requests": 60, "warmup": 2},
        "repeats": 1,
        "idle_s": 0.2,
        "baselines": False,
        "cells": [CELL | exit_rule | how for how in [{"schedule": "auto"}, *own]],
    }
    file = folder / "schedules.yaml"
    file.write_text(json.dumps(document))  # which is YAML, and has no aliases
    planned = make_plan(file, folder)
    asyncio.run(Campaign(planned, Silent(), Invocation(argv=[], file=file.name)).run(fresh=True))
    auto, *others = [read_cell(cell.folder.path) for cell in planned.cells]
    mean_ms = [float(cell.requests["latency_ms"].mean()) for cell in others]
    best_ms = min(mean_ms)
    took_ms = float(auto.requests["latency_ms"].mean())
    (chosen,) = auto.manifest.schedules
    case = f"RTT {rtt_ms:g} ms, " + ("no exit" if alpha is None else f"α {alpha:g}")
    met = "met" if took_ms <= TARGET * best_ms else "MISSED"
    said = f"{'+'.join(map(str, chosen.chunks))} w{chosen.window}"
    best = every[mean_ms.index(best_ms)]
    return (
        f"{f'{case}: {said}':34} {took_ms:>9.2f} {best_ms:>9.2f} {took_ms / best_ms:>12.3f} {chosen.latency_ms:>9.2f} "
        f"{'+'.join(map(str, best.chunks)) + f' w{best.window}':>16}  {met}"
    )
