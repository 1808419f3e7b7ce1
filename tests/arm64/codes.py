"""Prints hashes of every code, state and logits of a model's step graphs: run on two processors, and compared.

python codes.py ARTEFACT BUNDLE SAMPLES
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from testbed.runtime.artefact import load_card
from testbed.runtime.bundle import load_bundle
from testbed.runtime.onnx import OnnxGraph, State


def digest(array: NDArray[Any]) -> str:
    """Of an array's bytes and what they are to be read as."""
    return hashlib.sha256(f"{array.dtype} {array.shape}".encode() + array.tobytes()).hexdigest()[:16]


def hashes(artefact: Path, bundle: Path, samples: int) -> Iterator[dict[str, list[str]]]:
    """At each timestep of each sample: what comes out of both halves and of the backbone, then their states."""
    parts = ("stem", "edge", "cloud", "full_stem", "full_step")
    stem, edge, cloud, full_stem, full_step = (OnnxGraph(artefact / f"{part}.onnx") for part in parts)
    timesteps, inputs = load_card(artefact).timesteps, load_bundle(bundle).inputs
    for sample in range(samples):
        x = inputs[sample : sample + 1]
        current, full_current = stem.run(x), full_stem.run(x)
        at_edge, at_cloud, at_full = edge.initial_state(), cloud.initial_state(), full_step.initial_state()
        for _ in range(timesteps):
            code, at_edge = edge.step(current, at_edge)
            logits, at_cloud = cloud.step(code, at_cloud)
            full_logits, at_full = full_step.step(full_current, at_full)
            yield {
                "edge": [digest(code), *_digests(at_edge)],
                "cloud": [digest(logits), *_digests(at_cloud)],
                "full": [digest(full_logits), *_digests(at_full)],
            }


def _digests(state: State) -> list[str]:
    return [digest(value.numpy()) for value in state]


if __name__ == "__main__":
    print(json.dumps(list(hashes(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))))
