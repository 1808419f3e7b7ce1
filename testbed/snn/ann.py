"""The network without spikes, as it is deployed: one graph from pixels to logits, in float32 or in 8-bit integers.

It is the baseline that a spiking network is asked for: the same layers, trained by the same recipe, with ReLU in place
of neurons, and quantised after training by ONNX Runtime's own tool.
"""

from __future__ import annotations

import copy
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from testbed.data.datasets import Dataset, Samples
from testbed.errors import ModelError
from testbed.record.log import write_atomically
from testbed.runtime.artefact import ACCURACY_SAMPLES, ModelCard
from testbed.runtime.onnx import OnnxGraph
from testbed.snn.architecture import FULL, Weights
from testbed.snn.deployable import deployable
from testbed.snn.export import export_graph, forget_origin
from testbed.snn.modelcard import write_model_card
from testbed.snn.network import Network
from testbed.snn.opcount import count_parts, op_counts
from testbed.snn.recipe import Recipe, recipe_digest

GRAPH = "full.onnx"

CALIBRATION_SAMPLES = 256
"""Training samples whose activations choose the scales: the smallest and largest of each tensor, the tool's default."""

QUANTISED = ["Conv", "Relu", "Add", "MaxPool", "ReduceMean", "Gemm"]
"""Operators that compute in integers: all but the normalisation of pixels."""


class _Graph(nn.Module):
    """A network as one graph without time: from images [1, C, H, W], or frames [1, T, C, H, W], to logits [1, K]."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        functional.set_step_mode(self.network, "s")

    def forward(self, inputs: Tensor) -> Tensor:
        """Every layer once."""
        backbone, images = self.network.backbone, inputs.flatten(1, 2) if inputs.ndim == 5 else inputs
        return cast(Tensor, backbone(backbone.stem(self.network.normalize(images))))


def write_ann(
    recipe: Recipe, trained_network: Network, dataset: Dataset, folder: Path, trained: dict[str, Any], weights: Weights
) -> ModelCard:
    """Export a network without spikes: its graph and `model.yaml`. The folder appears whole or not at all.

    Raises:
        ModelError: it cannot be exported or quantised.
    """
    network = deployable(trained_network)
    sample = torch.from_numpy(dataset.test.images[:1].copy())
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    export_graph(_Graph(network), (sample,), part / GRAPH)
    in_int8: set[nn.Module] = set()
    if weights == "int8":
        quantise(part / GRAPH, dataset.train)
        in_int8 = {module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    some = dataset.test.some(ACCURACY_SAMPLES)
    right = logits(part / GRAPH, some).argmax(1) == some.labels
    counted = dataset.test
    if not dataset.static:  # of frames, the counters would take one for each timestep
        channels = counted.images.reshape(len(counted), -1, *sample.shape[-2:])
        counted = Samples(channels, counted.labels)
    cost = count_parts(network, counted, recipe.timesteps, int8=in_int8)[0]
    card = write_model_card(
        part,
        f"{recipe.name}/{FULL}",
        recipe.backbone,
        dataset,
        recipe.timesteps,
        {FULL: [float(right.mean())]},
        {"recipe": recipe_digest(recipe), **trained},
        weights=weights,
        op_counts=op_counts(None, None, cost, counted),
    )
    if folder.exists():
        shutil.rmtree(folder)
    part.rename(folder)
    return card


def quantise(path: Path, samples: Samples) -> None:
    """Put the 8-bit form of a graph in its place: static, with a scale for each output channel of the weights.

    Activations are unsigned bytes. Weights have 7 bits of the 8, which ONNX Runtime advises for processors without
    VNNI: these add two products in 16 bits, and would cut them off. So sums are the same on every processor.

    Raises:
        ModelError: the tool cannot do it.
    """
    made = path.with_suffix(".int8")
    try:
        with _quiet():
            quantize_static(
                str(path),
                str(made),
                _Inputs(samples),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=QUANTISED,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        # The tool leaves the shapes of what it adds out, and an emulated node's work is counted by them.
        model = onnx.shape_inference.infer_shapes(onnx.load(str(made)))
    except Exception as error:  # ONNX's and ONNX Runtime's have no base of their own
        raise ModelError(f"{path.name}: cannot be quantised: {' '.join(str(error).split())[:200]}") from error
    finally:
        made.unlink(missing_ok=True)
    forget_origin(model)
    write_atomically(path, model.SerializeToString(deterministic=True))


def logits(path: Path, samples: Samples) -> NDArray[np.float32]:
    """What the graph that is deployed says of each sample [N, K]."""
    graph = OnnxGraph(path)
    return np.concatenate([graph.run(samples.images[at : at + 1]) for at in range(len(samples))])


class _Inputs(CalibrationDataReader):  # type: ignore[misc]
    """Samples, one by one, drawn by a fixed seed."""

    def __init__(self, samples: Samples) -> None:
        drawn = samples.some(CALIBRATION_SAMPLES)
        self._left: Iterator[NDArray[np.uint8]] = (drawn.images[at : at + 1] for at in range(len(drawn)))

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """The next one; None when there is none."""
        x = next(self._left, None)
        return None if x is None else {"x": x}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tool from advising on standard error to simplify a graph that is simple already.

    It speaks through the root logger, which would then get a handler for good and repeat what others say.
    """
    root, nowhere = logging.getLogger(), logging.NullHandler()
    before = root.level
    root.setLevel(logging.ERROR)
    root.addHandler(nowhere)
    try:
        yield
    finally:
        root.removeHandler(nowhere)
        root.setLevel(before)
