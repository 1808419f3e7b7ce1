"""What an experiments/train/*.yaml may say: a backbone, a data set, variants to export, and how to train them."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from testbed.config import PlacedError, Strict, load_config
from testbed.data.datasets import DatasetSpec
from testbed.snn.architecture import SPLITS, Shortcut, Surrogate, feature_shape

Side = Literal[1, 2, 4, 8]
STRIDES: tuple[Side, ...] = (1, 2, 4, 8)
FLOAT_BITS = 32
VGG16_SMALLEST = 32


class SurrogateSpec(Strict):
    """The gradient of the spike, one of SpikingJelly's, with its steepness."""

    name: Surrogate = "atan"
    alpha: float = pydantic.Field(2.0, gt=0)


class BackboneSpec(Strict):
    """The network. With `neuron: relu` it is the same network without time: a teacher for the spiking one."""

    name: Literal["resnet18", "vgg16"] = "resnet18"
    neuron: Literal["lif", "relu"] = "lif"
    width: int = pydantic.Field(64, ge=4, le=128, description="channels of the first layer; 64 is the full network")
    tau: float = pydantic.Field(2.0, gt=1.0, description="membrane time constant of every LIF neuron, in timesteps")
    surrogate: SurrogateSpec = SurrogateSpec(name="atan", alpha=2.0)
    shortcut: Shortcut | None = pydantic.Field(
        None, description="what a ResNet's second block adds: the first one's membrane current (default) or spikes"
    )

    @pydantic.model_validator(mode="after")
    def _shortcuts_are_for_resnets(self) -> BackboneSpec:
        if self.name == "vgg16" and self.shortcut is not None:
            raise ValueError("vgg16 has no shortcuts; leave `shortcut` out")
        return self


class BottleneckSpec(Strict):
    """The code at the split: channels and spatial stride of the encoder, or the compression they should give.

    With more than one layer a deep path lies beside the single one, in the encoder and in the decoder; the currents of
    both are added before the neuron that fires.
    """

    channels: int | None = pydantic.Field(None, ge=1)
    stride: Side | None = None
    compression: float | None = pydantic.Field(
        None, ge=1, description="32 bits for each element at the split over the bits of the code, per timestep"
    )
    layers: int = pydantic.Field(1, ge=1, le=12, description="convolutions of the encoder's and decoder's deep path")
    hidden: int | None = pydantic.Field(
        None, ge=1, le=1024, description="channels between the encoder's deep layers; default: twice the split's"
    )
    decoder_hidden: int | None = pydantic.Field(
        None, ge=1, le=1024, description="the decoder's, which runs on the cloud; default: as the encoder's"
    )

    @pydantic.model_validator(mode="after")
    def _one_way_to_say_it(self) -> BottleneckSpec:
        explicit = self.channels is not None and self.stride is not None
        if (self.compression is None) != explicit or (self.channels is None) != (self.stride is None):
            raise ValueError("a bottleneck needs either `channels` and `stride`, or `compression`")
        if self.layers == 1 and (self.hidden is not None or self.decoder_hidden is not None):
            raise ValueError("`hidden` and `decoder_hidden` lie between layers; give `layers` of 2 or more")
        return self

    def resolve(self, feature: tuple[int, int, int]) -> tuple[int, int]:
        """(C', stride) of the encoder for features (C, H, W).

        Of the ways to reach a compression, the one that shrinks channels and area most alike is taken
        (the smaller stride where two are as near).

        Raises:
            ValueError: the compression cannot be reached at this split, or the stride does not divide the side.
        """
        channels, height, width = feature
        if self.channels is not None and self.stride is not None:
            if height % self.stride or width % self.stride:
                raise ValueError(f"a stride of {self.stride} does not divide {height}x{width} at this split")
            return self.channels, self.stride
        wanted = self.compression
        assert wanted is not None
        ways = [way for way in reachable(feature) if way[0] == wanted]
        if not ways:
            near = sorted({way[0] for way in reachable(feature)}, key=lambda other: abs(math.log(other / wanted)))
            listed = ", ".join(f"{value:g}" for value in sorted(near[:8]))
            raise ValueError(
                f"no code of {channels}x{height}x{width} features has a compression of {wanted:g}; "
                f"the nearest are {listed}"
            )
        _, code_channels, stride = min(ways, key=lambda way: abs(math.log(channels / way[1] / way[2] ** 2)))
        return code_channels, stride


def reachable(feature: tuple[int, int, int]) -> list[tuple[float, int, int]]:
    """Every (compression, C', stride) of a spiking bottleneck with C' ≤ C on features (C, H, W)."""
    channels, height, width = feature
    return [
        (FLOAT_BITS * channels * stride**2 / code_channels, code_channels, stride)
        for stride in STRIDES
        if not height % stride and not width % stride
        for code_channels in range(1, channels + 1)
    ]


class VariantSpec(Strict):
    """One artefact to export: the backbone cut at a split, with or without a bottleneck."""

    split: str
    bottleneck: BottleneckSpec | None = None


class DistillSpec(Strict):
    """Distillation (Hinton et al. 2015, arXiv 1503.02531): a variant learns the trained backbone's softened answers."""

    weight: float = pydantic.Field(1.0, gt=0)
    temperature: float = pydantic.Field(2.0, gt=0)


class SpikeRateSpec(Strict):
    """Regulariser weight · max(0, mean spike rate of the code − target): fewer spikes take fewer bits."""

    weight: float = pydantic.Field(gt=0)
    target: float = pydantic.Field(0.0, ge=0, lt=1)


def _one_by_one(values: object) -> object:
    """`[3x1, 4]` (three epochs at 1, then one at 4) to (1, 1, 1, 4)."""
    if not isinstance(values, list | tuple):
        return values
    listed: list[object] = []
    for value in values:
        run = re.fullmatch(r"([1-9]\d{0,4})x(\d{1,4})", value) if isinstance(value, str) else None
        listed += [value] if run is None else [int(run[2])] * int(run[1])
    return tuple(listed)


PerEpoch = Annotated[tuple[Annotated[int, pydantic.Field(ge=1)], ...], pydantic.BeforeValidator(_one_by_one)]
"""A value for each epoch of a phase, in order; `30x1` in the list is thirty epochs at 1."""


class PhaseSpec(Strict):
    """One phase of training, with a cosine schedule from `lr` to zero after a short warm-up.

    `backbone` trains the uncut network; `codec` trains each variant's bottleneck with the backbone
    frozen; `all` fine-tunes each variant whole, on its own copy of the backbone.
    """

    train: Literal["backbone", "codec", "all"]
    epochs: int = pydantic.Field(ge=1)
    lr: float = pydantic.Field(gt=0)
    frozen: tuple[str, ...] = pydantic.Field(
        (), description="segments of the backbone that an `all` phase leaves as they are, such as [stage4]"
    )
    timesteps: PerEpoch | None = pydantic.Field(
        None, description="T of each epoch, where early epochs run fewer than the recipe's T"
    )
    crops: PerEpoch | None = pydantic.Field(
        None, description="side of the crop that each epoch trains on, where early epochs see less than the image"
    )
    distill: DistillSpec | None = None
    spike_rate: SpikeRateSpec | None = None

    @pydantic.model_validator(mode="after")
    def _one_per_epoch(self) -> PhaseSpec:
        for name, values in (("timesteps", self.timesteps), ("crops", self.crops)):
            if values is not None and len(values) != self.epochs:
                raise ValueError(f"{name} lists {len(values)} epochs, epochs says {self.epochs}")
        if self.train == "backbone" and self.spike_rate is not None:
            raise ValueError("spike_rate is for variants with a bottleneck, not for the backbone")
        if self.train != "all" and self.frozen:
            raise ValueError(f"frozen is for phases that train all, not {self.train}")
        return self


class SgdSpec(Strict):
    """Stochastic gradient descent with Nesterov's momentum, in place of AdamW."""

    name: Literal["sgd"]
    momentum: float = pydantic.Field(0.9, ge=0, lt=1)


class TrainingSpec(Strict):
    """How the phases are run: cross entropy at every timestep (TET, arXiv 2202.11946) with AdamW, or what is said."""

    phases: tuple[PhaseSpec, ...] = pydantic.Field(min_length=1)
    batch_size: int = pydantic.Field(128, ge=2, description="over all devices together")
    optimizer: SgdSpec | None = pydantic.Field(None, description="default: AdamW")
    weight_decay: float = pydantic.Field(0.02, ge=0)
    gradient_clip: float = pydantic.Field(1.0, gt=0, description="largest norm of all gradients together")
    label_smoothing: float = pydantic.Field(0.0, ge=0, lt=1)
    teacher: Path | None = pydantic.Field(
        None, description="another recipe, trained before, whose network answers where a phase distils"
    )
    crop_padding: int = pydantic.Field(4, ge=0, description="random crops out of inputs padded by so many pixels")
    flip: bool = pydantic.Field(True, description="random horizontal flips")
    cutout: int = pydantic.Field(0, ge=0, description="side of a square that is blanked (DeVries 2017, 1708.04552)")
    seed: int = 0
    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    fused: bool = pydantic.Field(
        False, description="compile the LIF loop: faster from some minutes of training on, needs a C++ compiler"
    )


class Recipe(Strict):
    """A whole recipe file."""

    name: str = pydantic.Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    dataset: DatasetSpec
    backbone: BackboneSpec
    timesteps: int = pydantic.Field(4, ge=1, le=64)
    variants: dict[Annotated[str, pydantic.Field(pattern=r"^[a-z0-9][a-z0-9-]*$")], VariantSpec] = pydantic.Field(
        default_factory=dict
    )
    training: TrainingSpec
    checkpoint: Path | None = pydantic.Field(
        None, description="trained weights beside the recipe, used instead of training; --retrain ignores it"
    )

    @pydantic.model_validator(mode="after")
    def _fits_its_neuron(self) -> Recipe:
        spiking = self.backbone.neuron == "lif"
        if spiking and not self.variants:
            raise PlacedError("a spiking network needs at least one variant", "variants")
        if not spiking and self.variants:
            raise PlacedError("a relu network has no spikes to send, so it has no variants", "variants")
        if not spiking and self.timesteps != 1:
            raise PlacedError(f"a relu network has no time: timesteps is {self.timesteps}, not 1", "timesteps")
        if self.training.teacher is None and any(
            phase.train == "backbone" and phase.distill is not None for phase in self.training.phases
        ):
            raise PlacedError("a backbone that distils needs a teacher", "training", "phases")
        return self

    @pydantic.model_validator(mode="after")
    def _splits_and_codes_exist(self) -> Recipe:
        if self.dataset.frames not in (None, self.timesteps):
            raise PlacedError(
                f"dataset.frames is {self.dataset.frames}, but timesteps is {self.timesteps}", "timesteps"
            )
        smallest = min(
            [self.dataset.image_size, *(side for phase in self.training.phases for side in phase.crops or ())]
        )
        if self.backbone.name == "vgg16" and smallest < VGG16_SMALLEST:
            raise ValueError(f"vgg16 halves its input five times, so {smallest} pixels are too few: at least 32")
        largest = max(side for phase in self.training.phases for side in (phase.crops or (self.dataset.image_size,)))
        if largest > self.dataset.image_size:
            raise ValueError(f"crops of {largest} are larger than the image_size of {self.dataset.image_size}")
        for name, variant in self.variants.items():
            if variant.split not in SPLITS[self.backbone.name]:
                raise PlacedError(
                    f"{self.backbone.name} has no split {variant.split!r}; "
                    f"there is {', '.join(SPLITS[self.backbone.name])}",
                    *("variants", name, "split"),
                )
            try:
                self.code_shape(variant)
                self._check_layers(variant)
            except ValueError as error:
                raise PlacedError(str(error), "variants", name, "bottleneck") from error
        for number, phase in enumerate(self.training.phases):
            if unknown := sorted(set(phase.frozen) - set(SPLITS[self.backbone.name])):
                raise PlacedError(
                    f"{self.backbone.name} has no segment {unknown[0]!r}; "
                    f"there is {', '.join(SPLITS[self.backbone.name])}",
                    *("training", "phases", number, "frozen"),
                )
        return self

    def _check_layers(self, variant: VariantSpec) -> None:
        if variant.bottleneck is None or variant.bottleneck.layers == 1:
            return
        _, stride = variant.bottleneck.resolve(self.feature_shape(variant))
        needed = stride.bit_length()  # a halving each, and the layer that makes the code
        if variant.bottleneck.layers < needed:
            raise ValueError(f"a stride of {stride} takes {needed} layers or more, not {variant.bottleneck.layers}")

    def feature_shape(self, variant: VariantSpec) -> tuple[int, int, int]:
        """Shape (C, H, W) of the spikes at a variant's split."""
        return feature_shape(self.backbone.name, variant.split, self.backbone.width, self.dataset.image_size)

    def code_shape(self, variant: VariantSpec) -> tuple[int, int, int]:
        """Shape (C', H', W') of what a variant sends."""
        channels, height, width = self.feature_shape(variant)
        if variant.bottleneck is None:
            return channels, height, width
        code_channels, stride = variant.bottleneck.resolve((channels, height, width))
        return code_channels, height // stride, width // stride

    def compression(self, variant: VariantSpec) -> float:
        """Nominal and per timestep: 32 bits for each element at the split over the bits of the code."""
        return FLOAT_BITS * math.prod(self.feature_shape(variant)) / math.prod(self.code_shape(variant))


def load_recipe(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe file.

    Raises:
        ExperimentError: it says something a recipe may not say.
    """
    return load_config(path, Recipe, overrides)


def describe(recipe: Recipe) -> list[str]:
    """What each variant sends, a line each: its split, features, code and compression."""
    lines = []
    for name, variant in recipe.variants.items():
        feature, code = (
            "x".join(map(str, shape)) for shape in (recipe.feature_shape(variant), recipe.code_shape(variant))
        )
        what = "its spikes as they are" if variant.bottleneck is None else f"a code of {code} bits"
        lines.append(f"{name}: after {variant.split}, {feature} spikes, sends {what}: {recipe.compression(variant):g}x")
    return lines


TRAINING_VERSION = 2
"""Raised when the same recipe would train to something else: another default, loss or augmentation."""


def recipe_digest(recipe: Recipe) -> str:
    """What decides the trained weights: what the file says, without the paths of data and checkpoint."""
    document = recipe.model_dump(mode="json", exclude_unset=True, exclude={"checkpoint": True, "dataset": {"path"}})
    document["training_version"] = TRAINING_VERSION
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
