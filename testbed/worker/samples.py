"""The samples that are deployed to a node."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from testbed.errors import WorkerError
from testbed.link.messages import Load
from testbed.runtime.artefact import ModelCard
from testbed.runtime.bundle import Bundle, load_bundle


def fitting_bundle(load: Load, card: ModelCard) -> Bundle:
    """The evaluation bundle of an order.

    Raises:
        WorkerError: it names none, or one whose samples are not of the model's shape.
        DataError: it cannot be read.
    """
    if load.bundle is None:
        raise WorkerError(f"this {load.role} needs the evaluation bundle")
    bundle = load_bundle(Path(load.bundle), load.bundle_hash)
    if list(bundle.inputs.shape[1:]) != card.sample_shape:
        raise WorkerError(
            f"{load.bundle}: inputs of shape {list(bundle.inputs.shape[1:])} do not fit the model's {card.sample_shape}"
        )
    return bundle


def input_of(bundle: Bundle, sample: int) -> NDArray[np.uint8]:
    """One sample as a model takes it, uint8 [1, C, H, W] or [1, T, C, H, W]."""
    return np.ascontiguousarray(bundle.inputs[sample : sample + 1])


def inputs_of(bundle: Bundle, samples: Sequence[int], stop: threading.Event) -> Iterator[NDArray[np.uint8]]:
    """Each of the samples once, until it is to stop."""
    for sample in dict.fromkeys(samples):
        if stop.is_set():
            return
        yield input_of(bundle, sample)
