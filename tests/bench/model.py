"""One request, batch 1, T=4, full-width ResNet-18: the ONNX step graph against stock SpikingJelly, single-step.

Each side runs in processes of its own, in turn: ONNX Runtime's threads would slow torch beside them.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TIMESTEPS = 4
ROUNDS = 3
TARGETS = {1: 1.7, 2: 2.2}


def network():
    """A full-width network whose batch norms have seen data, so that its neurons fire as trained ones do."""
    import torch
    from spikingjelly.activation_based import functional

    from testbed.snn.backbones import resnet18
    from testbed.snn.network import Network, Normalize
    from testbed.snn.neurons import Neuron

    torch.manual_seed(0)
    net = Network(Normalize(torch.full((3,), 0.5), torch.full((3,), 0.25)), resnet18(64, 3, 10, Neuron(), "membrane"))
    with torch.no_grad():
        for _ in range(3):
            net(torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8), TIMESTEPS)
            functional.reset_net(net)
    return net.eval()


def export(folder: Path) -> None:
    """The step graphs that the testbed would run."""
    import torch

    from testbed.snn import export as ex

    full = ex.deployable(network())
    image = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    stem = ex.Stem(full)
    with torch.no_grad():
        current = stem(image)
    graph = ex.step_graph(full, ex.full_part)
    ex.export_graph(stem, (image,), folder / "full_stem.onnx")
    ex.export_graph(graph, (current, *graph.initial_state(current)), folder / "full_step.onnx")


def ours(threads: int, folder: Path) -> float:
    """Median milliseconds of a request with ONNX Runtime."""
    import numpy as np

    from testbed.runtime.onnx import OnnxGraph

    stem, step = (OnnxGraph(folder / f"full_{name}.onnx", threads) for name in ("stem", "step"))
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)

    def request() -> None:
        current, state = stem.run(image), step.initial_state()
        for _ in range(TIMESTEPS):
            _, state = step.step(current, state)

    return _median_ms(request)


def stock(threads: int, folder: Path) -> float:
    """Median milliseconds of a request with SpikingJelly as it comes."""
    import torch
    from spikingjelly.activation_based import functional

    torch.set_num_threads(threads)
    net = network()
    functional.set_step_mode(net, "s")
    image = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)

    def request() -> None:
        pixels = net.normalize(image)
        for _ in range(TIMESTEPS):
            net.backbone(net.backbone.stem(pixels))
        functional.reset_net(net)

    with torch.inference_mode():
        return _median_ms(request)


def _median_ms(request, count: int = 15) -> float:
    for _ in range(3):
        request()
    times = []
    for _ in range(count):
        start = time.perf_counter()
        request()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def run() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        export(Path(folder))
        print(f"{'threads':>8} {'ours ms':>9} {'stock ms':>9} {'ratio':>6} {'to reach':>9}")
        for threads, target in TARGETS.items():
            times: dict[str, list[float]] = {"ours": [], "stock": []}
            for _ in range(ROUNDS):
                for side, found in times.items():
                    command = [sys.executable, "-m", "tests.bench.model", side, str(threads), folder]
                    found.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
            ms = {side: statistics.median(found) for side, found in times.items()}
            ratio = ms["stock"] / ms["ours"]
            print(f"{threads:>8} {ms['ours']:>9.2f} {ms['stock']:>9.2f} {ratio:>6.2f} {'>= ' + str(target):>9}")


if __name__ == "__main__":
    side, threads, folder = sys.argv[1:]
    print({"ours": ours, "stock": stock}[side](int(threads), Path(folder)))
