"""How much of a network's arithmetic an edge does that is cut at a split."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from testbed.snn.backbones import Backbone
from testbed.snn.build import backbone_of, bottleneck_of
from testbed.snn.own_spec import OwnSpec
from testbed.snn.pair_spec import PairSpec
from testbed.snn.recipe import Recipe
from testbed.snn.survey import ANY_CLASSES, surveyed


@dataclass(frozen=True)
class Shares:
    """Multiplications of one timestep over those of the uncut network, by split and by variant.

    A split has the stem and the layers up to it. A variant has its encoder besides, or that alone if it codes pixels.
    Every element counts, spike or not.
    """

    splits: dict[str, float]
    variants: dict[str, float]


def shares(recipe: Recipe) -> Shares:
    """What the edge of each split and variant does. Nothing is computed, but for a network of one's own.

    Raises:
        TestbedError: a network of one's own cannot be built or run.
    """
    spec, data = recipe.backbone, recipe.dataset
    if isinstance(spec, PairSpec):
        return Shares({}, {})
    own = isinstance(spec, OwnSpec)
    classes = surveyed(spec, data.channels, data.image_size).outputs if isinstance(spec, OwnSpec) else ANY_CLASSES
    with torch.random.fork_rng(devices=[]), nullcontext() if own else torch.device("meta"), torch.no_grad():
        backbone = backbone_of(recipe, classes)
        frame = torch.zeros(1, 1, recipe.channels, *data.size)
        whole = _of_backbone(backbone, partial(backbone.after, ""), frame)
        splits = {split: _of_backbone(backbone, partial(backbone.until, split), frame) for split in recipe.features}
        variants = {}
        for name, variant in recipe.variants.items():
            bottleneck, spikes = bottleneck_of(recipe, variant), torch.zeros(1, 1, *recipe.feature_shape(variant))
            if bottleneck is None:
                count = splits[variant.split]
            elif bottleneck.stem is None:
                count = splits[variant.split] + multiplications(bottleneck.encoder, bottleneck.encoder, spikes)
            else:
                count = multiplications(bottleneck, nn.Sequential(bottleneck.stem, bottleneck.encoder), frame)
            variants[name] = count / whole
    return Shares({split: count / whole for split, count in splits.items()}, variants)


def _of_backbone(backbone: Backbone, run: Callable[[Tensor], Tensor], frame: Tensor) -> int:
    return multiplications(backbone, lambda x: run(backbone.stem(x)), frame)


def multiplications(module: nn.Module, run: Callable[[Tensor], Any], x: Tensor) -> int:
    """Multiplications of the convolutions and linear layers below a module while `run(x)` uses them."""
    count = 0

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal count
        if isinstance(layer, nn.Linear):
            count += output.numel() * layer.in_features
        elif isinstance(layer, nn.ConvTranspose2d):
            count += inputs[0].numel() * layer.weight[0].numel()  # each input goes through one kernel
        elif isinstance(layer, nn.Conv2d):
            count += output.numel() * layer.weight[0].numel()  # and here each output

    module.eval()  # batch norm refuses to train on a single element
    hooks = [one.register_forward_hook(add) for one in module.modules()]
    try:
        run(x)
    finally:
        for hook in hooks:
            hook.remove()
    functional.reset_net(module)
    return count
