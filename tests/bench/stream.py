"""Timesteps in flight and in chunks against stop-and-wait: at full T over a link of 20 ms, and on the edge alone."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]
RTT_MS = 20
REQUESTS = 150
STOP_AND_WAIT, STREAMED = "{}", "{window: 4}"
SCHEDULES = (
    STOP_AND_WAIT,
    "{window: 2}",
    STREAMED,
    "{chunks: [1, 3]}",
    "{chunks: [4]}",
    "{chunks: [1, 3], window: 4}",
)
TARGET = 0.4
DIVISIONS = ([1, 1, 1, 1], [1, 3], [2, 2], [4])
ROUNDS, PER_ROUND = 5, 5


def run() -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as name:
        over_a_link(Path(name))
        print()
        on_the_edge(Path(name))


def over_a_link(folder: Path) -> None:
    """Co-inference of the quickstart's model, all T=4 timesteps, on its emulated edge; cells take turns by repeat."""
    from testbed.campaign import Campaign, make_plan
    from testbed.record.documents import Invocation
    from testbed.record.reader import read_cell
    from tests.bench.request import Silent

    cells = [f"{{mode: co_inference, model: coded, codec: packed, {schedule[1:]}" for schedule in SCHEDULES]
    overrides = (
        "repeats=3",
        "baselines=false",
        f"link={{like: wifi, rtt_ms: {RTT_MS}}}",
        f"scenario.requests={REQUESTS}",
        f"cells=[{', '.join(cells)}]",
    )
    planned = make_plan(ROOT / "experiments" / "quickstart.yaml", folder, overrides=overrides)
    statuses = asyncio.run(Campaign(planned, Silent(), Invocation(argv=[], file="quickstart.yaml")).run())
    assert all(status.state == "complete" for status in statuses), statuses
    rows = [read_cell(cell.folder.path).requests for cell in planned.cells]
    medians = [requests["latency_ms"].median() for requests in rows]
    print(f"full T, RTT {RTT_MS} ms; target of window T: <= {TARGET}x")
    print(f"{'':>28} {'median ms':>10} {'ratio':>7} {'beside ms':>10} {'network ms':>11}")
    for schedule, requests, ms in zip(SCHEDULES, rows, medians, strict=True):
        ratio = ms / medians[0]
        verdict = ("met" if ratio <= TARGET else "MISSED") if schedule == STREAMED else ""
        beside, network = requests["beside_ms"].mean(), requests["network_ms"].mean()
        what = "stop-and-wait" if schedule == STOP_AND_WAIT else schedule.strip("{}")
        print(f"{what:>28} {ms:>10.2f} {ratio:>6.2f}x {beside:>10.2f} {network:>11.2f}  {verdict}")


def on_the_edge(folder: Path) -> None:
    """All T timesteps of a full-width ResNet-18 on one thread of this machine: what a division into chunks costs."""
    import numpy as np
    import onnx

    from testbed.runtime.backbone import Stepped
    from testbed.runtime.onnx import OnnxGraph
    from testbed.snn.chunks import chunk_graph
    from tests.bench import model

    model.export(folder)
    graphs = folder / "float"
    step = onnx.load(str(graphs / "full_step.onnx"))
    sizes = {1: OnnxGraph(graphs / "full_step.onnx")}
    for size in (2, 3, 4):
        path = graphs / f"full_step_x{size}.onnx"
        path.write_bytes(chunk_graph(step, size, still=True).SerializeToString())
        sizes[size] = OnnxGraph(path)
    stepped, whole = Stepped(OnnxGraph(graphs / "full_stem.onnx"), sizes), OnnxGraph(graphs / "full.onnx")
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)
    tasks = {"without exit": partial(whole.run, image)}
    tasks |= {"+".join(map(str, each)): partial(_all_of, stepped, image, each) for each in DIVISIONS}
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for round_ in range(ROUNDS + 1):
        for name, task in tasks.items():
            for _ in range(PER_ROUND):
                start = time.perf_counter()
                task()
                if round_:  # the first warms up
                    times[name].append(1e3 * (time.perf_counter() - start))
    print("edge alone, full width, all T=4 timesteps, one thread, against the whole backbone in one call")
    base = statistics.median(times["without exit"])
    for name, spent in times.items():
        ms = statistics.median(spent)
        print(f"{name:>28} {ms:>10.2f} {ms / base:>6.2f}x")


def _all_of(stepped, image, chunks) -> None:
    for _ in stepped.outputs(image, chunks):
        pass
