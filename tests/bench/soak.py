"""100,000 requests in one repeat over a shaped link: memory and open files of every process, from beginning to end."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from pathlib import Path

import psutil
import yaml

from tests.bench.request import Silent, profile

ROOT = Path(__file__).parents[2]
REQUESTS = 100_000
EVERY_S = 2.0
WHAT = {"testbed.worker --node edge": "edge", "testbed.worker --node": "cloud", "testbed.link.shaping": "shaper"}


class Watch:
    """Looks at the workers and the shaper now and then; `seen` has (MiB resident, files open) of each, in time."""

    def __init__(self) -> None:
        self.seen: dict[str, list[tuple[float, int]]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            for process in psutil.Process().children(recursive=True):
                try:
                    command = " ".join(process.cmdline())
                    name = next((name for words, name in WHAT.items() if words in command), None)
                    if name is not None:
                        used = process.memory_info().rss / 2**20, process.num_fds()
                        self.seen.setdefault(name, []).append(used)
                except psutil.Error:  # noqa: PERF203  (it ended meanwhile)
                    continue


def run() -> None:
    """Measure and print."""
    from testbed.campaign import Campaign, make_plan
    from testbed.record.documents import Invocation
    from testbed.record.reader import read_cell

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        link = {"name": "bench", "title": "bench", "technology": "ethernet", "source": "bench"}
        ways = {way: {"mbit_s": 100, "delay_ms": 0.1} for way in ("up", "down")}  # one for both would be an alias
        (folder / "link.yaml").write_text(yaml.safe_dump({**link, **ways}))
        document = {
            "name": "soak",
            "models": {"coded": {"recipe": str(ROOT / "experiments/train/digits-resnet18.yaml"), "variant": "coded"}},
            "nodes": {"edge": str(profile(folder, sampled=True)), "cloud": str(ROOT / "devices/host.yaml")},
            "link": "link.yaml",
            "scenario": {"requests": REQUESTS, "warmup": 20},
            "repeats": 1,
            "idle_s": 0.5,
            "baselines": False,
            # One timestep of each: the request is over early, and its session is ended by a frame of its own.
            "cells": [{"mode": "co_inference", "model": "coded", "codec": "packed", "exit": {"threshold": 0.0}}],
        }
        path = folder / "soak.yaml"
        path.write_text(yaml.safe_dump(document))
        plan = make_plan(path, folder / "results")
        with Watch() as watch:
            asyncio.run(Campaign(plan, Silent(), Invocation(argv=["bench"], file=str(path))).run())
        cell = read_cell(plan.cells[0].folder.path)
        outcomes = cell.requests["outcome"].value_counts().to_dict()
        print(f"{len(cell.requests):,} requests, each once: {cell.requests['request_id'].is_unique}; {outcomes}")
        for who, seen in watch.seen.items():
            at = (len(seen) // 10, len(seen) // 2, -2)
            memory = " → ".join(f"{seen[i][0]:.1f}" for i in at)
            files = " → ".join(str(seen[i][1]) for i in at)
            print(f"{who:7} MiB resident {memory}   open files {files}   (after a tenth, half way, at the end)")
