"""Export of a trained network: its step graphs as ONNX, its weights, and `model.yaml`, in the folder of an artefact."""

from __future__ import annotations

import copy
import functools
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from onnxscript import rewriter
from safetensors.torch import save
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from testbed.data.datasets import Dataset, Samples
from testbed.errors import ModelError
from testbed.record.log import write_atomically
from testbed.runtime.artefact import ACCURACY_SAMPLES, ModelCard, verify
from testbed.snn.accuracy import accuracy_per_timestep
from testbed.snn.architecture import Weights
from testbed.snn.deployable import deployed
from testbed.snn.exact import check_graphs
from testbed.snn.int8graph import OPSET, graph_form
from testbed.snn.modelcard import Cut, write_model_card
from testbed.snn.network import Network
from testbed.snn.network_spec import VariantSpec
from testbed.snn.opcount import count_parts, op_counts
from testbed.snn.own_spec import OwnSpec
from testbed.snn.recipe import Recipe, recipe_digest
from testbed.snn.stepgraph import Stem, Whole, cloud_part, edge_part, full_part, step_graph

RATE_SAMPLES = 2000
RATE_BATCH = 32
RATE_DIGITS = 6


def export_graph(module: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> None:
    """Write one module as ONNX with static shapes: from x, v0, v1, ... to y, v0_next, v1_next, and so on.

    Raises:
        ModelError: torch cannot export it.
    """
    states = len(inputs) - 1
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with torch.no_grad(), warnings.catch_warnings(), quick_rules(), one_registry():
            warnings.simplefilter("ignore")  # torch's exporter warns of its own internals
            program = torch.onnx.export(
                module.eval(),
                inputs,
                dynamo=True,
                opset_version=OPSET,
                input_names=["x", *(f"v{index}" for index in range(states))],
                output_names=["y", *(f"v{index}_next" for index in range(states))],
                verbose=False,
            )
        assert program is not None
        model = program.model_proto
    except Exception as error:
        raise ModelError(f"{path.name}: torch cannot export it: {str(error).splitlines()[0]}") from error
    forget_origin(model)
    write_atomically(path, model.SerializeToString(deterministic=True))


RULES, SLOW_RULE = "_DEFAULT_REWRITE_RULES", "SlicesSplit"


@contextmanager
def quick_rules() -> Iterator[None]:
    """Leave aside onnxscript's rule that makes one split of two slices: half of a long graph's export.

    At every node it looks through the whole graph. The networks that ship are never sliced, so their files are the
    same; one of a user's own keeps its slices. There is no public way to choose the rules.
    """
    rules = getattr(rewriter, RULES, ())
    setattr(rewriter, RULES, tuple(rule for rule in rules if rule.name != SLOW_RULE))
    try:
        yield
    finally:
        setattr(rewriter, RULES, rules)


@functools.cache
def _read_once() -> Callable[..., Any]:
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    return functools.cache(ONNXRegistry.from_torchlib)


@contextmanager
def one_registry() -> Iterator[None]:
    """Have torch read once, for all graphs of a process, how each operator is written in ONNX.

    `torch.onnx.export` reads it at every call, from the source of 500 functions, and an export has six graphs. It
    is the same each time, and is not changed unless an operator of one's own is given. There is no public way to
    hand it over.
    """
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    once, own = _read_once(), vars(ONNXRegistry)["from_torchlib"]
    ONNXRegistry.from_torchlib = staticmethod(once)  # type: ignore[method-assign]
    try:
        yield
    finally:
        ONNXRegistry.from_torchlib = own  # type: ignore[method-assign]


def forget_origin(message: Any) -> None:
    """Drop what the exporter noted of its sources, such as stack traces with the paths of this machine.

    An artefact's hash, and with it a cell's, must not depend on where the repository lies.
    """
    for field, value in message.ListFields():
        if field.name in ("metadata_props", "doc_string"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                forget_origin(part)


UNCUT = ("full_stem.onnx", "full_step.onnx", "full.onnx")
"""Graphs of the uncut backbone, the same in every variant of a recipe; they take half of an export."""


def export_backbone(full: Network, timesteps: int, sample: Tensor, folder: Path) -> None:
    """Write the graphs of the uncut backbone, for one sample at a time as in `export_network`."""
    frame, graphs = sample if sample.ndim == 4 else sample[:, 0], graph_form(full)
    stem, backbone = Stem(graphs), step_graph(graphs, full_part)
    with torch.no_grad():
        current = stem(frame)
        state = backbone.initial_state(current)
    export_graph(stem, (frame,), folder / UNCUT[0])
    export_graph(backbone, (current, *state), folder / UNCUT[1])
    export_graph(Whole(copy.deepcopy(graphs), timesteps), (sample,), folder / UNCUT[2])


def export_network(
    network: Network, full: Network, timesteps: int, sample: Tensor, folder: Path, like: Path | None = None
) -> None:
    """Write the step graphs of a cut network and of its uncompressed backbone, for one sample at a time.

    The sample, a still image [1, C, H, W] or event frames [1, T, C, H, W], gives the graphs their shapes.
    `like` is an artefact of another variant with the same weights, whose graphs of the backbone are taken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    graphs, frame = graph_form(network), sample if sample.ndim == 4 else sample[:, 0]
    stem = Stem(graphs)
    with torch.no_grad():
        current = stem(frame)
        edge = step_graph(graphs, edge_part)
        edge_state = edge.initial_state(current)
        code = edge(current, *edge_state)[0]
        cloud = step_graph(graphs, cloud_part)
    export_graph(stem, (frame,), folder / "stem.onnx")
    export_graph(edge, (current, *edge_state), folder / "edge.onnx")
    export_graph(cloud, (code, *cloud.initial_state(code)), folder / "cloud.onnx")
    if like is None:
        export_backbone(full, timesteps, sample, folder)
    else:
        for name in UNCUT:
            shutil.copyfile(like / name, folder / name)
    tensors = {f"split.{key}": value for key, value in network.state_dict().items()}
    tensors |= {f"full.{key}": value for key, value in full.state_dict().items()}
    write_atomically(folder / "weights.safetensors", save({key: value.contiguous() for key, value in tensors.items()}))


def write_artefact(
    recipe: Recipe,
    variant_name: str,
    variant: VariantSpec,
    networks: dict[str, Network],
    dataset: Dataset,
    folder: Path,
    trained: dict[str, Any],
    like: Path | None = None,
    *,
    weights: Weights = "float",
) -> ModelCard:
    """Export one variant: step graphs, weights and `model.yaml`. The folder appears whole or not at all.

    `like` is the artefact of another variant with the same weights in the same form, if there is one: what it holds of
    the backbone is neither exported nor measured again.

    Raises:
        ModelError: torch cannot export it, the data set's frames are not one for each timestep, or `like` is not what
            its card says.
    """
    network, full = (
        deployed(networks[name], weights, dataset.train, recipe.timesteps) for name in (variant_name, "full")
    )
    sample = torch.from_numpy(dataset.test.images[:1].copy())
    if not dataset.static and sample.shape[1] != recipe.timesteps:
        raise ModelError(
            f"{recipe.name}: {dataset.name} has {sample.shape[1]} frames a sample, but the recipe has "
            f"{recipe.timesteps} timesteps; each frame of events is one timestep"
        )
    some = dataset.test.some(ACCURACY_SAMPLES)
    known = None if like is None else verify(like)
    if known is None or known.op_counts is None:
        accuracy = accuracy_per_timestep(full, some, recipe.timesteps)
        cost = count_parts(full, dataset.test, recipe.timesteps)[0]
    else:
        accuracy, cost = known.accuracy_per_timestep["full"], known.op_counts.full
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    export_network(network, full, recipe.timesteps, sample, part, like)
    if isinstance(recipe.backbone, OwnSpec):
        check_graphs(part, network, full, dataset.test, recipe.timesteps)
    feature = recipe.feature_shape(variant)
    code = feature if network.bottleneck is None else network.bottleneck.code_shape(feature)
    rates = code_rates(network, dataset.train, recipe.timesteps)
    card = write_model_card(
        part,
        f"{recipe.name}/{variant_name}",
        recipe.backbone,
        dataset,
        recipe.timesteps,
        {"full": accuracy, "split": accuracy_of_a_cut(network, accuracy, some, recipe.timesteps)},
        {"recipe": recipe_digest(recipe), **trained},
        Cut(variant.split, feature, code, variant.bottleneck is not None, rates),
        weights=weights,
        op_counts=op_counts(*count_parts(network, dataset.test, recipe.timesteps), cost, dataset.test),
    )
    if folder.exists():
        shutil.rmtree(folder)
    part.rename(folder)
    return card


def accuracy_of_a_cut(network: Network, uncut: list[float], samples: Samples, timesteps: int) -> list[float]:
    """Its accuracy after each timestep, which is the uncut network's unless it was trained itself."""
    return accuracy_per_timestep(network, samples, timesteps) if network.has_own_weights else uncut


def code_rates(network: Network, samples: Samples, timesteps: int, limit: int = RATE_SAMPLES) -> list[list[float]]:
    """Share of ones in each channel of a deployable network's code at each timestep [T][C'].

    Measured over at most `limit` samples (training samples, so that a codec learns nothing of the test set), drawn
    by a fixed seed.
    """
    drawn = samples.some(limit)
    rates = torch.zeros(())
    with torch.inference_mode():
        for start in range(0, len(drawn), RATE_BATCH):
            inputs = torch.from_numpy(drawn.images[start : start + RATE_BATCH])
            code = network.edge(network.currents(inputs, timesteps))
            functional.reset_net(network)
            rates = rates + code.double().mean((1, 3, 4)) * (len(inputs) / len(drawn))
    return [[round(rate, RATE_DIGITS) for rate in step] for step in rates.tolist()]
