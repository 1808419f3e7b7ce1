"""One timestep, batch 1, full-width ResNet-18: PyTorch as a runtime against ONNX Runtime, on the same step graph.

Each side runs in processes of its own, in turn. Where PyTorch sees a GPU, it is a side too.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from devices.profile import Runtime
from tests.bench.model import TARGETS, export

ROUNDS = 5
CALLS = 100
SECONDS = 2.0
"""Calls that a median is of: so many, unless they take longer than this."""

GPU_TARGET_MS = 1.0
"""To reach on an H100."""

SIDES = {
    "onnx": Runtime(provider="cpu"),
    "torch": Runtime(provider="torch", device="cpu"),
    "gpu": Runtime(provider="torch", device="cuda"),
}


def step_ms(side: str, path: Path) -> dict[str, object]:
    """Median milliseconds of a call, and what computes it."""
    from testbed.runtime.trial import opened

    graph = opened(path, SIDES[side])
    x, state, times = graph.blank(), graph.initial_state(), list[float]()
    for _ in range(3):
        graph.step(x, state)
    while len(times) < CALLS and sum(times) < SECONDS:
        start = time.perf_counter()
        graph.step(x, state)
        times.append(time.perf_counter() - start)
    return {"ms": 1000 * statistics.median(times), "told": " ".join(graph.told.values())}


def run() -> None:
    """Print the table: each round's ratio is of processes that ran one after the other, on one thread."""
    import torch

    sides = [side for side in SIDES if side != "gpu" or torch.cuda.is_available()]
    with tempfile.TemporaryDirectory() as folder:
        export(Path(folder))
        print(f"{'weights':>8} {'side':>6} {'ms':>8} {'over onnx':>10} {'to reach':>9}  computed by")
        for weights in TARGETS:
            found: dict[str, list[dict]] = {side: [] for side in sides}
            for _ in range(ROUNDS):
                for side, results in found.items():
                    path = Path(folder) / weights / "full_step.onnx"
                    command = [sys.executable, "-m", "tests.bench.runtimes", side, str(path)]
                    results.append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))
            for side, results in found.items():
                ratio = statistics.median(a["ms"] / b["ms"] for a, b in zip(results, found["onnx"], strict=True))
                ms = statistics.median(each["ms"] for each in results)
                target = f"<= {GPU_TARGET_MS}" if side == "gpu" else ""
                print(f"{weights:>8} {side:>6} {ms:>8.3f} {ratio:>10.3f} {target:>9}  {results[-1]['told']}")


if __name__ == "__main__":
    print(json.dumps(step_ms(sys.argv[1], Path(sys.argv[2]))))
