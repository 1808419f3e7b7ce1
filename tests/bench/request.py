"""What the testbed adds to a co-inference request on loopback: latency − edge − encode − cloud.

Beside it are bare echoes of messages as long, between two processes that compute the same graphs in between: over
ZeroMQ with CURVE, as the data plane is, and over TCP alone. What they take is the machine's.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
import zmq

if TYPE_CHECKING:
    import pandas as pd

ROOT = Path(__file__).parents[2]
HOST = ROOT / "devices" / "host.yaml"
POWER = {
    "source": "emulated",
    "rail": "VDD_IN",
    "rate_hz": 100,
    "idle_mw": 5200,
    "cpu_busy_mw": 5600,
    "radio_mw": 320,
    "reference": "bench",
}


TRIPS = 4
REQUESTS, WARMUP = 500, 10
UP, DOWN = bytes(16 + 8), bytes(16 + 40)
"""A frame with the quickstart's code, and one with the logits of ten classes; the cloud's time is put before it."""


class Silent:
    """An observer that shows nothing but trouble."""

    def message(self, text: str) -> None:
        """Print it."""
        print(text)

    def attempt(self, number: int, of: int, title: str) -> None:
        """Nothing."""

    def phase(self, name: str, done: int, total: int) -> None:
        """Nothing."""

    def step(self, node: str, what: str, done_bytes: int, total_bytes: int) -> None:
        """Nothing."""


def profile(folder: Path, *, sampled: bool) -> Path:
    """An edge as fast as this machine, with or without the 100 Hz power sampler."""
    path = folder / f"edge-{'sampled' if sampled else 'plain'}.yaml"
    emulates = {
        "board": "this machine",
        "processor": "cpu",
        "time": {"model": "slowdown", "slowdown": 1.0, "reference": "none"},
    }
    document = {"name": path.stem, "kind": "emulated", "reach": "local", "runtime": {"provider": "cpu"}}
    path.write_text(yaml.safe_dump({**document, "emulates": emulates, "power": [POWER] if sampled else []}))
    return path


def host(folder: Path) -> Path:
    """An edge that is this machine itself: what an emulated one takes beyond its model's time is not on record."""
    path = folder / "edge.yaml"
    path.write_text(yaml.safe_dump({"name": "edge", "kind": "host", "reach": "local", "runtime": {"provider": "cpu"}}))
    return path


def measure(folder: Path, edge: Path, requests: int) -> pd.DataFrame:
    """The requests of one repeat of co-inference with the bottleneck, at full T."""
    from testbed.campaign import Campaign, make_plan
    from testbed.record.documents import Invocation
    from testbed.record.reader import read_cell

    cell = "[{mode: co_inference, model: coded, codec: packed}]"
    overrides = (
        "repeats=1",
        "baselines=false",
        "idle_s=0.3",
        "link=none",
        f"scenario.requests={requests}",
        f"cells={cell}",
    )
    planned = make_plan(ROOT / "experiments" / "quickstart.yaml", folder, overrides=overrides, edge=edge, cloud=HOST)
    statuses = asyncio.run(Campaign(planned, Silent(), Invocation(argv=[], file="quickstart.yaml")).run())
    assert statuses[0].state == "complete", statuses
    requests = read_cell(planned.cells[0].folder.path).requests
    shutil.rmtree(planned.folder.path)  # else the next run would set it aside, and say so
    return requests


def computing(path: Path) -> Callable[[], int]:
    """A timestep of a step graph, again and again; each call returns the nanoseconds that it took."""
    from testbed.runtime.onnx import OnnxGraph

    graph = OnnxGraph(path)
    x, state = graph.blank(), graph.initial_state()

    def compute() -> int:
        begun = time.monotonic_ns()
        graph.step(x, state)
        return time.monotonic_ns() - begun

    return compute


def serve(kind: str, path: Path, secret: str) -> None:
    """Print where it listens, and answer what comes after computing; the answer says how long that took."""
    compute = computing(path)
    if kind == "tcp":
        with socket.create_server(("127.0.0.1", 0)) as server:
            print(server.getsockname()[1], flush=True)
            peer, _ = server.accept()
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while peer.recv(len(UP), socket.MSG_WAITALL):
                peer.sendall(struct.pack("<q", compute()) + DOWN)
        return
    router = zmq.Context.instance().socket(zmq.ROUTER)
    router.curve_server, router.curve_secretkey = True, secret.encode()
    print(router.bind_to_random_port("tcp://127.0.0.1"), flush=True)
    while True:
        peer = router.recv()
        router.recv()
        answer = struct.pack("<q", compute()) + DOWN
        router.send(peer, zmq.SNDMORE)
        router.send(answer)


def echo(kind: str, artefact: Path, requests: int) -> list[float]:
    """Milliseconds that the trips of each request take beyond what both sides compute."""
    compute = computing(artefact / "edge.onnx")
    server_keys, own_keys = (tuple(key.decode() for key in zmq.curve_keypair()) for _ in range(2))
    command = [sys.executable, "-m", "tests.bench.request", kind, str(artefact / "cloud.onnx"), server_keys[1]]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    port = int(server.stdout.readline())
    try:
        if kind == "tcp":
            peer = socket.create_connection(("127.0.0.1", port))
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def trip() -> bytes:
                peer.sendall(UP)
                return peer.recv(8 + len(DOWN), socket.MSG_WAITALL)
        else:
            dealer = zmq.Context.instance().socket(zmq.DEALER)
            dealer.curve_publickey, dealer.curve_secretkey = (key.encode() for key in own_keys)
            dealer.curve_serverkey = server_keys[0].encode()
            dealer.linger = 0
            dealer.connect(f"tcp://127.0.0.1:{port}")

            def trip() -> bytes:
                dealer.send(UP)
                return dealer.recv()

        took = []
        for _ in range(requests):
            waited_ns = 0
            for _ in range(TRIPS):
                compute()
                begun = time.monotonic_ns()
                answer = trip()
                waited_ns += time.monotonic_ns() - begun - struct.unpack_from("<q", answer)[0]
            took.append(waited_ns / 1e6)
        return took[WARMUP:]
    finally:
        server.kill()
        server.wait()


def run() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = measure(folder, host(folder), REQUESTS)
        parts = rows[["edge_compute_ms", "encode_ms", "cloud_compute_ms"]].sum(axis=1)
        found = {"the testbed": list(rows["latency_ms"] - parts)}
        for kind, title in (("zmq", "bare echo, ZeroMQ, CURVE"), ("tcp", "bare echo, TCP")):
            found[title] = echo(kind, folder / "models" / "quickstart" / "coded", REQUESTS + WARMUP)
    print(f"{f'ms beyond it, {TRIPS} trips':>26} {'min':>7} {'p50':>7} {'p95':>7} {'to reach':>10}")
    for title, took in found.items():
        p95 = statistics.quantiles(took, n=20)[-1]
        target = "p50 <= 0.6" if title == "the testbed" else ""
        print(f"{title:>26} {min(took):>7.3f} {statistics.median(took):>7.3f} {p95:>7.3f} {target:>10}")


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
