"""Export of a trained network to step graphs `(x, *state) → (y, *state')` and their artefact folder.

Batch norm is folded into the convolutions and the weights are rounded to multiples of 2^-12. Spikes are
zeros and ones, so every sum a convolution forms is then a multiple of 2^-12 that float32 holds exactly, in any
order of summation: a graph gives the same spikes, bit for bit, whichever processor or library runs it.
"""

from __future__ import annotations

import copy
import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import save
from spikingjelly.activation_based import base, functional, neuron
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from testbed.data.datasets import Dataset, Samples
from testbed.errors import ModelError
from testbed.record.log import write_atomically
from testbed.runtime.artefact import ModelCard, write_card
from testbed.snn.epochs import accuracy_per_timestep
from testbed.snn.network import Network
from testbed.snn.opcount import count_operations
from testbed.snn.recipe import Recipe, VariantSpec, recipe_digest

WEIGHT_GRID_BITS = 12
OPSET = 20

RATE_SAMPLES = 2000
RATE_BATCH = 32
RATE_DIGITS = 6


def deployable(network: Network) -> Network:
    """A copy in evaluation mode with batch norm folded and every weight on the grid.

    This is the network that the step graphs compute; it runs in SpikingJelly like the trained one.
    """
    folded = copy.deepcopy(network).cpu().eval()
    _fold(folded)
    with torch.no_grad():
        for parameter in folded.parameters():
            parameter.copy_(torch.round(parameter * 2.0**WEIGHT_GRID_BITS) * 2.0**-WEIGHT_GRID_BITS)
    return folded


def _fold(module: nn.Module) -> None:
    """Fold every (convolution, batch norm) pair below a module, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.Sequential) and len(child) == 2 and isinstance(child[1], nn.BatchNorm2d):
            transposed = isinstance(child[0], nn.ConvTranspose2d)
            setattr(module, name, fuse_conv_bn_eval(cast(Any, child[0]), child[1], transpose=transposed))
        else:
            _fold(child)


class StepGraph(nn.Module):
    """A part of a network with its neurons' state on the outside, for export and for comparison.

    `forward(x, *state)` returns `(y, *state')`; state tensors are membrane potentials [N, C, H, W].
    """

    def __init__(self, part: nn.Module, forward: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        functional.reset_net(part)
        functional.set_step_mode(part, "s")
        self.part = part
        self._step = base.to_functional_forward(part, forward)

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """One timestep."""
        outputs, states = self._step((x,), state)
        return (outputs[0], *cast(tuple[Tensor, ...], states))

    def initial_state(self, x: Tensor) -> tuple[Tensor, ...]:
        """Zero potentials of the right shapes, found by running one timestep on `x`."""
        functional.reset_net(self.part)
        with torch.no_grad():
            _, states = self._step((x,), tuple(base.extract_memories(self.part)))
        functional.reset_net(self.part)
        return tuple(torch.zeros_like(cast(Tensor, state)) for state in states)


class _Part(nn.Module):
    """Some modules of a network under one roof, so that only their neurons count as state."""

    def __init__(self, modules: Sequence[nn.Module], run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(modules)
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)


def edge_part(network: Network) -> nn.Module:
    """Layers up to the split and the encoder; the code leaves as uint8 zeros and ones."""
    backbone = network.backbone
    names = list(backbone.segments)
    kept = [backbone.segments[name] for name in names[: names.index(cast(str, network.split)) + 1]]
    encoder = [] if network.bottleneck is None else [network.bottleneck.encoder]
    return _Part([*kept, *encoder], lambda x: network.edge(x).to(torch.uint8))


def cloud_part(network: Network) -> nn.Module:
    """The decoder and the layers after the split; the code comes as uint8."""
    backbone = network.backbone
    names = list(backbone.segments)
    kept = [backbone.segments[name] for name in names[names.index(cast(str, network.split)) + 1 :]]
    decoder = [] if network.bottleneck is None else [network.bottleneck.decoder]
    return _Part([*decoder, *kept, backbone.head], lambda code: network.cloud(code.to(torch.float32)))


def full_part(network: Network) -> nn.Module:
    """Every layer after the stem."""
    backbone = network.backbone
    return _Part([*backbone.segments.values(), backbone.head], backbone.forward)


class Stem(nn.Module):
    """What comes before the first neuron: an image or one frame of events [1, C, H, W] to its input current."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.current(images)


class Whole(nn.Module):
    """All T timesteps in one call, layer by layer: each layer's weights are read once for all timesteps.

    From a still image [1, C, H, W] or event frames [1, T, C, H, W] to logits [T, 1, K].
    """

    def __init__(self, network: Network, timesteps: int) -> None:
        super().__init__()
        self.network, self.timesteps = network, timesteps

    def forward(self, inputs: Tensor) -> Tensor:
        functional.reset_net(self.network)
        return cast(Tensor, self.network(inputs, self.timesteps))


def step_graph(network: Network, part: Callable[[Network], nn.Module]) -> StepGraph:
    """A part of a deployable network as a step graph; the network given is left as it is."""
    module = part(_single_step(network))
    return StepGraph(module, cast(_Part, module).forward)


def _single_step(network: Network) -> Network:
    duplicate = copy.deepcopy(network)
    functional.reset_net(duplicate)
    functional.set_step_mode(duplicate, "s")
    return duplicate


def export_graph(module: nn.Module, inputs: tuple[Tensor, ...], path: Path) -> None:
    """Write one module as ONNX with static shapes: from x, v0, v1, ... to y, v0_next, v1_next, and so on.

    Raises:
        ModelError: torch cannot export it.
    """
    states = len(inputs) - 1
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with torch.no_grad(), warnings.catch_warnings():
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
        program.save(path)
    except Exception as error:
        raise ModelError(f"{path.name}: torch cannot export it: {str(error).splitlines()[0]}") from error


def export_network(network: Network, full: Network, timesteps: int, sample: Tensor, folder: Path) -> None:
    """Write the step graphs of a cut network and of its uncompressed backbone, for one sample at a time.

    The sample, a still image [1, C, H, W] or event frames [1, T, C, H, W], gives the graphs their shapes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem, frame = Stem(network), sample if sample.ndim == 4 else sample[:, 0]
    with torch.no_grad():
        current = stem(frame)
        edge = step_graph(network, edge_part)
        edge_state = edge.initial_state(current)
        code = edge(current, *edge_state)[0]
        cloud = step_graph(network, cloud_part)
        backbone = step_graph(full, full_part)
        full_current = Stem(full)(frame)
    export_graph(stem, (frame,), folder / "stem.onnx")
    export_graph(edge, (current, *edge_state), folder / "edge.onnx")
    export_graph(cloud, (code, *cloud.initial_state(code)), folder / "cloud.onnx")
    export_graph(Stem(full), (frame,), folder / "full_stem.onnx")
    export_graph(backbone, (full_current, *backbone.initial_state(full_current)), folder / "full_step.onnx")
    export_graph(Whole(copy.deepcopy(full), timesteps), (sample,), folder / "full.onnx")
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
) -> ModelCard:
    """Export one variant: step graphs, weights and `model.yaml`. The folder appears whole or not at all.

    Raises:
        ModelError: torch cannot export it, or the data set's frames are not one for each timestep.
    """
    network, full = deployable(networks[variant_name]), deployable(networks["full"])
    sample = torch.from_numpy(dataset.test.images[:1].copy())
    if not dataset.static and sample.shape[1] != recipe.timesteps:
        raise ModelError(
            f"{recipe.name}: {dataset.name} has {sample.shape[1]} frames a sample, but the recipe has "
            f"{recipe.timesteps} timesteps; each frame of events is one timestep"
        )
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    export_network(network, full, recipe.timesteps, sample, part)
    feature = recipe.feature_shape(variant)
    code = feature if network.bottleneck is None else network.bottleneck.code_shape(feature)
    card = write_card(
        part,
        ModelCard(
            name=f"{recipe.name}/{variant_name}",
            backbone=recipe.backbone.name,
            width=recipe.backbone.width,
            dataset=dataset.name,
            dataset_variant=dataset.variant,
            timesteps=recipe.timesteps,
            classes=list(dataset.classes),
            input_shape=list(sample.shape[-3:]),
            static_input=dataset.static,
            split=variant.split,
            feature_shape=list(feature),
            code_shape=list(code),
            bottleneck=variant.bottleneck is not None,
            compression=32 * _size(feature) / _size(code),
            accuracy_per_timestep={
                "full": _accuracy(full, dataset.test, recipe.timesteps),
                "split": _accuracy(network, dataset.test, recipe.timesteps),
            },
            code_rates=code_rates(network, dataset.train, recipe.timesteps),
            op_counts=count_operations(network, full, dataset.test, recipe.timesteps),
            trained={"recipe": recipe_digest(recipe), **trained},
        ),
    )
    if folder.exists():
        shutil.rmtree(folder)
    part.rename(folder)
    return card


def code_rates(network: Network, samples: Samples, timesteps: int, limit: int = RATE_SAMPLES) -> list[list[float]]:
    """Share of ones in each channel of a deployable network's code at each timestep [T][C'].

    Measured over at most `limit` samples (training samples, so that a codec learns nothing of the test set), drawn
    by a fixed seed.
    """
    order = np.random.default_rng(0).permutation(len(samples))[:limit]
    rates = torch.zeros(())
    with torch.inference_mode():
        for start in range(0, len(order), RATE_BATCH):
            inputs = torch.from_numpy(samples.images[order[start : start + RATE_BATCH]])
            code = network.edge(network.currents(inputs, timesteps))
            functional.reset_net(network)
            rates = rates + code.double().mean((1, 3, 4)) * (len(inputs) / len(order))
    return [[round(rate, RATE_DIGITS) for rate in step] for step in rates.tolist()]


def _size(shape: Sequence[int]) -> int:
    total = 1
    for side in shape:
        total *= side
    return total


def _accuracy(network: Network, samples: Samples, timesteps: int) -> list[float]:
    return accuracy_per_timestep(network, samples, timesteps)


__all__ = [
    "StepGraph",
    "cloud_part",
    "deployable",
    "edge_part",
    "export_graph",
    "export_network",
    "full_part",
    "neuron",
    "step_graph",
    "write_artefact",
]
