"""What it takes to deploy to a node behind sshd on loopback: from nothing, and when all is there already."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from devices.profile import Profile, Runtime, SshReach
from testbed.deploy.deployer import Claim
from testbed.deploy.ssh import SshDeployer
from tests.sshd import lan, missing

ROUNDS = 5
BUNDLE_BYTES = 30_000_000  # the test set of CIFAR10


async def deploy(folder: Path, number: int) -> float:
    """Seconds to reach the node, put the testbed and a bundle on it, and have an environment for the workers."""
    profile = Profile(
        name="bench-node",
        kind="host",
        reach=SshReach("edge"),
        runtime=Runtime(provider="cpu"),
        python=sys.executable,
        folder=str(folder / "node"),
    )
    node = SshDeployer(profile, Claim("bench@here", "bench", f"bench-{number}"))
    start = time.perf_counter()
    await node.open()
    await node.push(folder / "bundle", "bundle")
    seconds = time.perf_counter() - start
    await node.close()
    return seconds


def run() -> None:
    """Print the table."""
    if lacks := missing(namespaces=False):
        print(lacks)
        return
    with tempfile.TemporaryDirectory() as name, lan(Path(name), namespaces=False) as nodes:
        os.environ["HOME"] = str(nodes.home)
        bundle = Path(name) / "bundle"
        bundle.mkdir()
        (bundle / "inputs.npy").write_bytes(np.random.default_rng(0).bytes(BUNDLE_BYTES))
        seconds = [asyncio.run(deploy(Path(name), number)) for number in range(1 + ROUNDS)]
    print(f"{'':>24} {'s':>8} {'to reach':>9}")
    print(f"{'first deploy':>24} {seconds[0]:>8.2f}")
    print(f"{'later deploys, median':>24} {statistics.median(seconds[1:]):>8.2f} {'< 2':>9}")
