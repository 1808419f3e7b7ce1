"""A campaign of 1,000 cells of 10,000 requests: how long its summary takes, and how much memory.

The target is 60 s and 2 GiB. Seconds of the processor say more than seconds where others use the machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from devices.base.power import Rail
from devices.base.rowlog import RowLog
from testbed.record.documents import ExitDocument
from testbed.record.log import write_json
from testbed.record.schema import ClockLine, ClockRecord, EventRow
from testbed.record.tables import TABLES, arrow_schema
from tests.made import records

CELLS, REPEATS, REQUESTS, SAMPLES, T, CLASSES = 1000, 5, 2000, 1000, 4, 10
SEED = 12
TEMPLATES = 5
"""Cells whose rows differ; the others have hard links to theirs. The disk is not what is measured."""

MS, S = 1_000_000, 1_000_000_000
TOOK_MS, IDLE_NS, PERIOD_NS = 12.0, 2 * S, 10 * MS
RULE = ExitDocument(policy="max_softmax", accumulate="mean", threshold=0.9)

_SUMMARY = """
import resource, sys, time
from pathlib import Path
started = time.monotonic()
{body}
print(time.monotonic() - started, time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""
OURS = """
from analysis.metrics.registry import measure
from analysis.summary import write_summary
from testbed.record.reader import read_campaign
write_summary(Path(sys.argv[1]), measure(read_campaign(Path(sys.argv[1]), sys.exit)))
"""
BY_PANDAS = """
import pandas as pd
frames = {}
for table in ("requests", "timesteps", "power", "network"):
    frames[table] = pd.concat(
        pd.read_parquet(path).assign(cell=path.parent.name)
        for path in sorted(Path(sys.argv[1]).glob(f"*/{table}.parquet"))
    )
rows = frames["requests"].groupby("cell")
found = [rows["latency_ms"].quantile([0.5, 0.95, 0.99]), rows["payload_up_bytes"].mean(), rows["exit_timestep"].mean()]
"""

_SIDES = (
    ("summary.csv", OURS, "toy"),
    ("summary.csv", OURS, "tenth"),
    ("all tables in pandas, no interval", BY_PANDAS, "tenth"),
)


def run() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make(folder / "toy", CELLS)
        make(folder / "tenth", CELLS // 10)
        print(f"{CELLS} cells of {REPEATS * REQUESTS} requests, {CELLS * REPEATS * REQUESTS * T} timesteps at most")
        print(f"{'':>34} {'cells':>6} {'seconds':>8} {'processor':>10} {'GiB':>6}")
        for what, body, name in _SIDES:
            found = measured(body, folder / name)
            cells = CELLS if name == "toy" else CELLS // 10
            print(f"{what:>34} {cells:>6} {found[0]:>8.1f} {found[1]:>10.1f} {found[2]:>6.2f}", flush=True)


def measured(body: str, folder: Path) -> tuple[float, float, float]:
    """Seconds, seconds of the processor, and GiB of resident memory at most, of a process of its own."""
    argv = [sys.executable, "-c", _SUMMARY.format(body=body), str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    seconds, processor_s, gib = map(float, done.stdout.split()[-3:])
    return seconds, processor_s, gib


def make(folder: Path, cells: int) -> None:
    """Write a campaign: an edge-only baseline, and co-inference with an exit."""
    templates = [folder.with_name(f"{folder.name}-{number}") for number in range(TEMPLATES)]
    for number, template in enumerate(templates):
        _rows(template, np.random.default_rng([SEED, number]))
    for number in range(cells):
        cell = folder / f"{number:010x}"
        cell.mkdir(parents=True)
        for path in templates[number % TEMPLATES].iterdir():
            os.link(path, cell / path.name)
        _documents(cell, number)
    for template in templates:
        shutil.rmtree(template)


def _documents(cell: Path, number: int) -> None:
    board = records.profile("board", "emulated", [records.EMULATED_POWER])
    rail = Rail(name="VDD_IN", scope="emulated")
    said = [records.capability("emulated", rail, averaging_ms=10.0)]
    nodes = [
        records.node(board, "edge", repeats=REPEATS, power=said),
        records.node(records.profile("server", "host"), "cloud", repeats=REPEATS),
    ]
    mode = "co_inference" if number else "edge_only"
    rule = RULE if number else None
    config = records.config(mode=mode, exit=rule, position=number, baseline=not number)
    rates = [[0.1 * (t + 1)] * 16 for t in range(T)]
    model = records.model(code_rates=rates, op_counts=records.op_counts(*[records.op_cost([1e6] * T, [0.0] * T)] * 3))
    told = {"mode": mode, "exit": rule, "config": config, "model": model, "repeats": REPEATS}
    write_json(cell / "manifest.json", records.manifest(nodes, cell=cell.name, label=f"cell {number}", **told))
    write_json(cell / "status.json", records.status(repeats_done=list(range(REPEATS))))


def _rows(folder: Path, rng: np.random.Generator) -> None:
    """What the nodes of one cell record."""
    count = REPEATS * REQUESTS
    repeat = np.repeat(np.arange(REPEATS), REQUESTS)
    took = np.round((TOOK_MS + rng.gamma(2.0, 0.5, count)) * MS).astype(np.int64)
    zero = (1 + repeat) * 1000 * S
    end = zero + IDLE_NS + np.concatenate([np.cumsum(part) for part in np.split(took, REPEATS)])
    steps = rng.integers(1, T + 1, count)
    label = rng.integers(0, CLASSES, count)
    requests = {
        "request_id": np.tile(np.arange(REQUESTS), REPEATS),
        "node": ["board"] * count,
        "sample_index": np.concatenate([rng.permutation(REQUESTS) % SAMPLES for _ in range(REPEATS)]),
        "repeat": repeat,
        "label": label,
        "prediction": np.where(rng.random(count) < 0.9, label, (label + 1) % CLASSES),
        "outcome": ["ok"] * count,
        "answered_by": ["cloud"] * count,
        "exit_timestep": steps,
        "t_start_ns": end - took,
        "t_end_ns": end,
        "latency_ms": took / MS,
        **{f"{stage}_ms": 0.2 * took / MS for stage in ("edge_compute", "encode", "network", "cloud_compute")},
        "payload_up_bytes": 32 * steps,
        "payload_down_bytes": 40 * steps,
        "frames_up": steps + 1,
        "frames_down": steps,
        "wire_up_bytes": 160 * steps,
        "wire_down_bytes": 170 * steps,
    }
    owner = np.repeat(np.arange(count), steps)
    timestep = np.concatenate([np.arange(each) for each in steps])
    logits = pa.FixedSizeListArray.from_arrays(pa.array(rng.normal(0, 2, len(owner) * CLASSES)), CLASSES)
    sent_ns = requests["t_start_ns"][owner] + 2 * MS * timestep
    timesteps = {
        "request_id": requests["request_id"][owner],
        "node": ["board"] * len(owner),
        "repeat": repeat[owner],
        "timestep": timestep,
        "logits": logits.cast(pa.list_(pa.float64())),
        "confidence": rng.random(len(owner)),
        "code_spikes": rng.integers(0, 257, len(owner)),
        "code_bits": np.full(len(owner), 256),
        "payload_bytes": rng.integers(16, 33, len(owner)),
        "t_send_ns": sent_ns,
        "t_reply_ns": sent_ns + MS,
        "cloud_compute_ms": rng.random(len(owner)),
    }
    spans = [((number + 1) * 1000 * S, int(end[(number + 1) * REQUESTS - 1]) + IDLE_NS) for number in range(REPEATS)]
    t_ns = np.concatenate([np.arange(first, last, PERIOD_NS) for first, last in spans])
    power = {
        **{name: [text] * len(t_ns) for name, text in _POWER.items()},
        "t_ns": t_ns,
        "mw": rng.normal(5600, 40, len(t_ns)),
    }
    t_ns = np.concatenate([np.arange(first, last, 5 * PERIOD_NS) for first, last in spans])
    network = {
        "node": ["board"] * len(t_ns),
        "t_ns": t_ns,
        "interface": ["data"] * len(t_ns),
        "tx_bytes": np.arange(len(t_ns)) * 640,
        "rx_bytes": np.arange(len(t_ns)) * 680,
        "rtt_ms": rng.normal(4, 0.1, len(t_ns)),
        "retransmits": np.zeros(len(t_ns), dtype=np.int64),
        "cwnd": np.full(len(t_ns), 10),
    }
    folder.mkdir(parents=True)
    for name, columns in (("requests", requests), ("timesteps", timesteps), ("power", power), ("network", network)):
        schema = arrow_schema(TABLES[name])
        missing = {each: pa.nulls(len(columns["node"]), schema.field(each).type) for each in schema.names}
        table = pa.table({**missing, **columns}, schema=schema)
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd", write_page_checksum=True)
    lines = [_line(node, number) for node in ("board", "server") for number in range(REPEATS)]
    write_json(folder / "clock.json", ClockRecord(estimates=[], lines=lines))
    with RowLog(folder / "events.jsonl") as log:
        log.append(*(event for number, span in enumerate(spans) for event in _events(number, *span)))


_POWER = {"node": "board", "source": "emulated", "rail": "VDD_IN", "scope": "emulated"}


def _line(node: str, repeat: int) -> ClockLine:
    told = {"offset_ns": 0, "bound_ns": 50_000, "skew_ppm": 0.0, "skew_bound_ppm": 1.0, "straight": True}
    return ClockLine(node=node, repeat=repeat, t_ns=(1 + repeat) * 1000 * S, **told)


def _events(repeat: int, first_ns: int, last_ns: int) -> Iterator[EventRow]:
    begin, end = first_ns + IDLE_NS - 50 * MS, last_ns - IDLE_NS + 50 * MS
    for phase, t_ns in (("idle_before", first_ns), ("measure", begin), ("idle_after", end), ("end", last_ns)):
        yield EventRow(node="board", t_ns=t_ns, repeat=repeat, event="phase", detail={"phase": phase})
