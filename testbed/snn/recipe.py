"""A recipe, an experiments/train/*.yaml: a backbone, a data set, variants to export, and how to train them."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic

from testbed.config import Name, PlacedError, Strict, load_config
from testbed.data.datasets import DatasetSpec
from testbed.errors import TestbedError
from testbed.snn.architecture import FULL, place
from testbed.snn.base import on_base
from testbed.snn.network_spec import FLOAT_BITS, AnyBackbone, BackboneSpec, VariantSpec
from testbed.snn.own_spec import OwnSpec, Shape, Weights
from testbed.snn.pair_spec import PairSpec
from testbed.snn.training_spec import TrainingSpec

MOST_TIMESTEPS = 64
VGG16_SMALLEST = 32


class Recipe(Strict):
    """A whole recipe file."""

    name: Name
    dataset: DatasetSpec
    backbone: AnyBackbone
    timesteps: int = pydantic.Field(4, ge=1, le=MOST_TIMESTEPS)
    variants: dict[Name, VariantSpec] = pydantic.Field(default_factory=dict)
    training: TrainingSpec = TrainingSpec.model_validate({})
    weights: Weights | None = pydantic.Field(
        None, description="a state dict of a network of one's own, which the backbone starts from"
    )
    checkpoint: Path | None = pydantic.Field(
        None, description="trained weights beside the recipe, used instead of training; --retrain ignores it"
    )

    @pydantic.model_validator(mode="after")
    def _fits_its_neuron(self) -> Recipe:
        if self.spiking and not self.variants:
            raise PlacedError("a spiking network needs at least one variant", "variants")
        if not self.spiking and self.variants:
            raise PlacedError("a relu network has no spikes to send, so it has no variants", "variants")
        if not self.spiking and self.timesteps != 1:
            raise PlacedError(f"a relu network has no time: timesteps is {self.timesteps}, not 1", "timesteps")
        if self.training.teacher is None and any(
            phase.train == "backbone" and phase.distill is not None for phase in self.training.phases
        ):
            raise PlacedError("a backbone that distils needs a teacher", "training", "phases")
        return self

    @pydantic.model_validator(mode="after")
    def _has_weights_or_training(self) -> Recipe:
        if isinstance(self.backbone, PairSpec):
            self._check_pair()
        elif self.weights is None and not self.training.phases:
            if "training" not in self.model_fields_set:
                raise PlacedError("is missing", "training")
            raise PlacedError("expected at least one phase", "training", "phases")
        if self.weights is not None and not isinstance(self.backbone, OwnSpec):
            raise PlacedError("belongs to a network of your own; a checkpoint belongs to every recipe", "weights")
        if not self.training.phases:
            for name, variant in self.variants.items():
                if variant.bottleneck is not None:
                    message = "has to be trained, in a codec phase"
                    if isinstance(self.backbone, PairSpec):
                        message = "a pair of graphs has its code already; `feature` says what it stands for"
                    raise PlacedError(message, "variants", name, "bottleneck")
        if isinstance(self.backbone, OwnSpec):
            self._check_own()
        return self

    def _check_pair(self) -> None:
        for key in ("training", "checkpoint"):
            if key in self.model_fields_set:
                raise PlacedError("a pair of graphs is as it is, and not trained", key)

    def _check_own(self) -> None:
        if self.training.fused:
            raise PlacedError("is for the neurons of resnet18 and vgg16", "training", "fused")
        for number, phase in enumerate(self.training.phases):
            if phase.crops is not None:
                raise PlacedError("are for resnet18 and vgg16", "training", "phases", number, "crops")
        if self.checkpoint is not None and self.checkpoint.suffix == ".xz":
            raise PlacedError("packed weights are for resnet18 and vgg16; expected .safetensors", "checkpoint")

    @property
    def spiking(self) -> bool:
        """Whether its network spikes; else it is an ANN with ReLU, of one timestep and without variants."""
        return self.backbone.neuron == "lif"

    @property
    def channels(self) -> int:
        """What the stem sees: an image's, a frame's, or of an ANN those of all frames at once."""
        return self.dataset.channels * (1 if self.spiking else self.dataset.frames or 1)

    @functools.cached_property
    def features(self) -> dict[str, Shape]:
        """Shape (C, H, W) of the spikes at each split of the backbone.

        Raises:
            TestbedError: a network of one's own cannot be built, run or deployed.
        """
        return self.backbone.features(self.dataset.channels, self.dataset.image_size)

    @pydantic.model_validator(mode="after")
    def _splits_and_codes_exist(self) -> Recipe:
        if self.spiking and self.dataset.frames not in (None, self.timesteps):
            raise PlacedError(
                f"dataset.frames is {self.dataset.frames}, but timesteps is {self.timesteps}", "timesteps"
            )
        side = min(self.dataset.size)
        crops = [crop for phase in self.training.phases for crop in phase.crops or ()]
        shipped = isinstance(self.backbone, BackboneSpec)
        if shipped and self.backbone.name == "vgg16" and (smallest := min([side, *crops])) < VGG16_SMALLEST:
            raise ValueError(f"vgg16 halves its input five times, so {smallest} pixels are too few: at least 32")
        if max(crops, default=0) > side:
            raise ValueError(f"crops of {max(crops)} are larger than the image_size of {side}")
        try:
            features = self.features
        except TestbedError as error:
            raise PlacedError(str(error), "backbone") from error
        for name, variant in self.variants.items():
            if variant.split not in features:
                reason = self.backbone.no_split(variant.split, self.dataset.channels, self.dataset.image_size)
                raise PlacedError(reason, "variants", name, "split")
            if variant.bottleneck is None and self.backbone.carries_current(variant.split):
                raise PlacedError(
                    f"a shortcut carries a membrane current past {variant.split}, which is no spike: give the variant "
                    "a bottleneck, whose decoder makes that current, or the backbone `shortcut: spike`",
                    *("variants", name, "split"),
                )
            if variant.control and all(phase.train != "all" for phase in self.training.phases):
                raise PlacedError("is trained in an `all` phase, and there is none", "variants", name, "control")
            try:
                self.code_shape(variant)
                self._check_layers(variant)
            except ValueError as error:
                raise PlacedError(str(error), "variants", name, "bottleneck") from error
        segments = [split for split in features if place(split)[1] is None]
        for number, phase in enumerate(self.training.phases):
            named = {"frozen": phase.frozen, "match": () if phase.match is None else phase.match.segments}
            for key, names in named.items():
                if unknown := sorted(set(names) - set(segments)):
                    raise PlacedError(
                        f"{self.backbone.name} has no segment {unknown[0]!r}; there is {', '.join(segments)}",
                        *("training", "phases", number, key),
                    )
        return self

    def _check_layers(self, variant: VariantSpec) -> None:
        if variant.bottleneck is None or variant.bottleneck.layers == 1:
            return
        _, stride = variant.bottleneck.resolve(self.feature_shape(variant))
        if variant.from_pixels:
            stride = self.input_over_code(variant)
        needed = stride.bit_length()  # a halving each, and the layer that makes the code
        if variant.bottleneck.layers < needed:
            raise ValueError(f"a stride of {stride} takes {needed} layers or more, not {variant.bottleneck.layers}")

    def input_over_code(self, variant: VariantSpec) -> int:
        """Side of the input over that of a variant's code, which an encoder of pixels halves away.

        Raises:
            ValueError: it is no power of two.
        """
        (rows, columns), (_, height, width) = self.dataset.size, self.code_shape(variant)
        over = rows // height
        if (over * height, over * width) != (rows, columns) or over.bit_count() != 1:
            raise ValueError(f"halving {rows}x{columns} pixels never gives the {height}x{width} of the code")
        return over

    def trains(self, name: str) -> bool:
        """Whether a variant has weights of its own; else it is the uncut network's, cut."""
        return bool(self.variants[name].trained_in)

    def feature_shape(self, variant: VariantSpec) -> tuple[int, int, int]:
        """Shape (C, H, W) of the spikes at a variant's split."""
        return self.features[variant.split]

    def code_shape(self, variant: VariantSpec) -> tuple[int, int, int]:
        """Shape (C', H', W') of what a variant sends."""
        if isinstance(self.backbone, PairSpec):
            return self.backbone.code_shape(self.dataset.channels, self.dataset.image_size)
        channels, height, width = self.feature_shape(variant)
        if variant.bottleneck is None:
            return channels, height, width
        code_channels, stride = variant.bottleneck.resolve((channels, height, width))
        return code_channels, height // stride, width // stride

    def compression(self, variant: VariantSpec) -> float:
        """Nominal and per timestep: 32 bits for each element at the split over the bits of the code."""
        return FLOAT_BITS * math.prod(self.feature_shape(variant)) / math.prod(self.code_shape(variant))


def load_recipe(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe file, with its `base` written out.

    Raises:
        ExperimentError: it says something a recipe may not say.
    """
    return load_config(path, Recipe, overrides, functools.partial(on_base, path))


def describe(recipe: Recipe, edge_shares: Mapping[str, float]) -> list[str]:
    """What each variant sends, a line each: its split, features, code, compression, and the edge's share."""
    lines = []
    for name, variant in recipe.variants.items():
        feature, code = (
            "x".join(map(str, shape)) for shape in (recipe.feature_shape(variant), recipe.code_shape(variant))
        )
        what = "its spikes as they are" if variant.bottleneck is None else f"a code of {code} bits"
        where = f"in place of all up to {variant.split}" if variant.from_pixels else f"after {variant.split}"
        line = f"{name}: {where}, {feature} spikes, sends {what}: {recipe.compression(variant):g}x"
        if name in edge_shares:
            line += f", {100 * edge_shares[name]:.2g}% of the arithmetic on the edge"
        lines.append(line)
    return lines


TRAINING_VERSION = 2
"""Raised when the same recipe would train to something else: another default, loss or augmentation."""


def recipe_digest(recipe: Recipe) -> str:
    """What decides the trained weights: what the file says, without the paths of data and checkpoint.

    Variants that are not trained are no part of it: a split of plain spikes can be added to trained weights.
    """
    return _digest(recipe, {"checkpoint": True, "dataset": {"path"}})


def family_digest(recipe: Recipe) -> str:
    """The same for recipes that differ in name and seed alone."""
    return _digest(recipe, {"checkpoint": True, "dataset": {"path"}, "name": True, "training": {"seed"}})


def lineage(recipe: Recipe) -> dict[str, str]:
    """What decides the weights of each trained network, as a hash by its name: `full`, then variants in their order.

    Each depends on the networks before it too, which draw from the same random numbers. So whoever appends a variant,
    or changes the last one, keeps those before.
    """
    document = _document(recipe, {"checkpoint": True, "dataset": {"path"}, "variants": True})
    phases = document.get("training", {}).pop("phases", [])
    told: list[Any] = [document, [phase for phase in phases if phase["train"] == "backbone"]]
    found = {FULL: _hash(told)}
    for name, variant in recipe.variants.items():
        if variant.trained_in:
            spec = variant.model_dump(mode="json", exclude_unset=True)
            told = [told, name, spec, [phase for phase in phases if phase["train"] in variant.trained_in]]
            found[name] = _hash(told)
    return found


def _digest(recipe: Recipe, exclude: Any) -> str:
    return _hash(_document(recipe, exclude))


def _document(recipe: Recipe, exclude: Any) -> dict[str, Any]:
    document = recipe.model_dump(mode="json", exclude_unset=True, exclude=exclude)
    if "variants" in document:
        document["variants"] = {name: document["variants"][name] for name in recipe.variants if recipe.trains(name)}
    document["training_version"] = TRAINING_VERSION
    return document


def _hash(document: Any) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
