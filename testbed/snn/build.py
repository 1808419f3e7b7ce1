"""The untrained networks of a recipe."""

from __future__ import annotations

import numpy as np
import torch

from testbed.data.datasets import Dataset
from testbed.errors import DataError
from testbed.snn.architecture import FULL
from testbed.snn.backbones import Backbone, resnet18, vgg16
from testbed.snn.network import Bottleneck, Network, Normalize
from testbed.snn.network_spec import BackboneSpec
from testbed.snn.neurons import Neuron
from testbed.snn.own import own_backbone
from testbed.snn.own_spec import OwnSpec
from testbed.snn.recipe import Recipe
from testbed.snn.still import Still

STATISTICS_SAMPLES = 5000
"""Inputs, evenly spaced over the training set, whose pixels give the normalisation."""


def build(recipe: Recipe, dataset: Dataset) -> dict[str, Network]:
    """The recipe's untrained networks: `full`, and one per variant, cut and with its bottleneck.

    Raises:
        DataError: the data set's event frames are not as many as the recipe's timesteps.
    """
    inputs = dataset.train.images
    if recipe.spiking and inputs.ndim == 5 and inputs.shape[1] != recipe.timesteps:
        raise DataError(f"{dataset.name}: {inputs.shape[1]} frames, but the recipe has {recipe.timesteps} timesteps")
    torch.manual_seed(recipe.training.seed)
    sample = inputs[:: max(1, len(inputs) // STATISTICS_SAMPLES)].astype(np.float64) / 255.0
    axes = tuple(axis for axis in range(sample.ndim) if axis != sample.ndim - 3)
    mean, std = sample.mean(axis=axes), sample.std(axis=axes)
    spec, channels = recipe.backbone, recipe.dataset.channels
    if not recipe.spiking and inputs.ndim == 5:  # its frames are channels
        channels *= inputs.shape[1]
        mean, std = np.tile(mean, inputs.shape[1]), np.tile(std, inputs.shape[1])
    if isinstance(spec, OwnSpec):
        lif = Neuron()
        data = recipe.dataset
        backbone = own_backbone(spec, len(dataset.classes), data.channels, data.image_size, recipe.weights)
    else:
        assert isinstance(spec, BackboneSpec), "a pair of graphs is there already"
        lif = Neuron(spec.tau, spec.surrogate.name, spec.surrogate.alpha, spec.neuron)
        backbone = _backbone(spec, channels, len(dataset.classes), lif)
    full = (Network if recipe.spiking else Still)(Normalize(torch.tensor(mean), torch.tensor(std)), backbone)
    networks = {FULL: full}
    for name, variant in recipe.variants.items():
        bottleneck = None
        if variant.bottleneck is not None:
            feature = recipe.feature_shape(variant)
            told = variant.bottleneck
            bottleneck = Bottleneck(
                feature[0],
                *told.resolve(feature),
                lif,
                layers=told.layers,
                hidden=told.hidden,
                decoder_hidden=told.decoder_hidden,
            )
        networks[name] = full.cut(variant.split, bottleneck)
    return networks


def _backbone(spec: BackboneSpec, channels: int, classes: int, lif: Neuron) -> Backbone:
    if spec.name == "vgg16":
        return vgg16(spec.width, channels, classes, lif)
    return resnet18(spec.width, channels, classes, lif, spec.shortcut or "membrane")
