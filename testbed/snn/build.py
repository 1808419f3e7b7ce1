"""The untrained networks of a recipe."""

from __future__ import annotations

import numpy as np
import torch

from testbed.data.datasets import Dataset
from testbed.errors import DataError
from testbed.snn.architecture import FULL
from testbed.snn.backbones import Backbone, resnet18, vgg16
from testbed.snn.network import Bottleneck, Network, Normalize
from testbed.snn.network_spec import AnyBackbone, BackboneSpec, VariantSpec
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
    if not recipe.spiking and inputs.ndim == 5:  # its frames are channels
        mean, std = np.tile(mean, inputs.shape[1]), np.tile(std, inputs.shape[1])
    network = Network if recipe.spiking else Still
    full = network(Normalize(torch.tensor(mean), torch.tensor(std)), backbone_of(recipe, len(dataset.classes)))
    networks = {FULL: full}
    for name, variant in recipe.variants.items():
        networks[name] = full.cut(variant.split, bottleneck_of(recipe, variant), control=variant.control)
    return networks


def backbone_of(recipe: Recipe, classes: int) -> Backbone:
    """The untrained backbone; one of a user's own with the recipe's `weights`."""
    spec, channels = recipe.backbone, recipe.channels
    if isinstance(spec, OwnSpec):
        return own_backbone(spec, classes, channels, recipe.dataset.image_size, recipe.weights)
    assert isinstance(spec, BackboneSpec), "a pair of graphs is there already"
    if spec.name == "vgg16":
        return vgg16(spec.width, channels, classes, _neuron(spec))
    return resnet18(spec.width, channels, classes, _neuron(spec), spec.shortcut or "membrane")


def bottleneck_of(recipe: Recipe, variant: VariantSpec) -> Bottleneck | None:
    """A variant's untrained bottleneck, if it has one."""
    told = variant.bottleneck
    if told is None:
        return None
    feature = recipe.feature_shape(variant)
    return Bottleneck(
        feature[0],
        *told.resolve(feature),
        _neuron(recipe.backbone),
        layers=told.layers,
        hidden=told.hidden,
        decoder_hidden=told.decoder_hidden,
        pixels=(recipe.dataset.channels, recipe.input_over_code(variant)) if told.encoder == "pixels" else None,
    )


def _neuron(spec: AnyBackbone) -> Neuron:
    if isinstance(spec, BackboneSpec):
        return Neuron(spec.tau, spec.surrogate.name, spec.surrogate.alpha, spec.neuron)
    return Neuron()
