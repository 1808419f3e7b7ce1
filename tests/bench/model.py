"""One request, batch 1, T=4, full-width ResNet-18: the backbone as an edge runs it against stock SpikingJelly.

Ours is what `edge_only` loads: the graphs of an artefact, with the threads, spinning and form that the trial chooses.
Each side runs in processes of its own, in turn: ONNX Runtime's threads would slow torch beside them.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TIMESTEPS = 4
ROUNDS = 5
TARGETS = {"float": 1.7, "int8": 4.0}
"""Stock over ours, at one thread and at two."""


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
    """The backbone's graphs as an artefact has them, in each form."""
    import numpy as np
    import torch

    from testbed.data.datasets import Samples
    from testbed.snn.deployable import deployed
    from testbed.snn.export import export_backbone

    full, images = network(), np.random.default_rng(0).integers(0, 256, (64, 3, 32, 32), dtype=np.uint8)
    samples = Samples(images, np.zeros(len(images), np.int64))
    for weights in TARGETS:
        form = deployed(full, weights, samples, TIMESTEPS)
        export_backbone(form, TIMESTEPS, torch.from_numpy(images[:1].copy()), folder / weights)


def ours(weights: str, threads: int, folder: Path) -> dict[str, object]:
    """Milliseconds of a request, and what the trial chose."""
    import numpy as np

    from devices.profile import Runtime
    from testbed.runtime.backbone import Backbone
    from testbed.runtime.graph import Graph
    from testbed.runtime.trial import load

    chosen: dict[str, str] = {}

    def graph(file: str) -> Graph:
        found, _ = load(folder / weights / file, Runtime(provider="cpu", threads=threads), tried=True)
        chosen[file] = f"{found.threads}{' spinning' * found.spinning}"
        return found

    backbone = Backbone(graph, TIMESTEPS)
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)
    ms = _fastest_ms(lambda: backbone.run(image))
    file = "full.onnx" if backbone.form == "whole" else "full_step.onnx"
    return {"ms": ms, "chosen": f"{backbone.form} on {chosen[file]}"}


def stock(threads: int) -> dict[str, object]:
    """Milliseconds of a request with SpikingJelly as it comes."""
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
        return {"ms": _fastest_ms(request)}


def _fastest_ms(request, count: int = 15) -> float:
    """The fastest of several: what the machine takes where nothing else runs."""
    for _ in range(3):
        request()
    times = []
    for _ in range(count):
        start = time.perf_counter()
        request()
        times.append(1000 * (time.perf_counter() - start))
    return min(times)


def run() -> None:
    """Print the table: each round's ratio is of processes that ran one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        export(Path(folder))
        print(f"{'threads':>8} {'weights':>8} {'ours ms':>9} {'stock ms':>9} {'ratio':>6} {'to reach':>9}  chosen")
        for threads in (1, 2):
            found: dict[str, list[dict]] = {side: [] for side in ("stock", *TARGETS)}
            for _ in range(ROUNDS):
                for side, results in found.items():
                    command = [sys.executable, "-m", "tests.bench.model", side, str(threads), folder]
                    done = subprocess.run(command, capture_output=True, text=True, check=True)
                    results.append(json.loads(done.stdout))
            for weights, target in TARGETS.items():
                pairs = [(a["ms"], b["ms"]) for a, b in zip(found[weights], found["stock"], strict=True)]
                ratio = statistics.median(b / a for a, b in pairs)
                ms = [statistics.median(side) for side in zip(*pairs, strict=True)]
                print(
                    f"{threads:>8} {weights:>8} {ms[0]:>9.2f} {ms[1]:>9.2f} {ratio:>6.2f} {f'>= {target}':>9}"
                    f"  {found[weights][-1]['chosen']}"
                )


if __name__ == "__main__":
    side, threads, folder = sys.argv[1:]
    print(json.dumps(stock(int(threads)) if side == "stock" else ours(side, int(threads), Path(folder))))
