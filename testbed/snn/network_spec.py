"""What a recipe may say of its network: the backbone, and the variants it is cut into."""

from __future__ import annotations

import math
from typing import Annotated, Literal, TypeAlias

import pydantic

from testbed.config import Strict
from testbed.data.size import Size
from testbed.snn.architecture import SPLITS, Shortcut, Surrogate, feature_shape, place
from testbed.snn.own_spec import OwnSpec, Shape
from testbed.snn.pair_spec import PairSpec

Side = Literal[1, 2, 4, 8]
STRIDES: tuple[Side, ...] = (1, 2, 4, 8)
FLOAT_BITS = 32


class SurrogateSpec(Strict):
    """The gradient of the spike, one of SpikingJelly's, with its steepness."""

    name: Surrogate = "atan"
    alpha: float = pydantic.Field(2.0, gt=0, le=1000)


class BackboneSpec(Strict):
    """The network. With `neuron: relu` it is the same network without time: a baseline and a teacher."""

    name: Literal["resnet18", "vgg16"] = "resnet18"
    neuron: Literal["lif", "relu"] = "lif"
    width: int = pydantic.Field(64, ge=4, le=128, description="channels of the first layer; 64 is the full network")
    tau: float = pydantic.Field(
        2.0, gt=1.0, le=1000, description="membrane time constant of every LIF neuron, in timesteps"
    )
    surrogate: SurrogateSpec = SurrogateSpec(name="atan", alpha=2.0)
    shortcut: Shortcut | None = pydantic.Field(
        None, description="what a ResNet's second block adds: the first one's membrane current (default) or spikes"
    )

    @pydantic.model_validator(mode="after")
    def _shortcuts_are_for_resnets(self) -> BackboneSpec:
        if self.name == "vgg16" and self.shortcut is not None:
            raise ValueError("vgg16 has no shortcuts; leave `shortcut` out")
        return self

    def features(self, channels: int, image_size: Size) -> dict[str, Shape]:
        """Shape (C, H, W) of the spikes at each split, whatever the input's channels."""
        return {split: feature_shape(self.name, split, self.width, image_size) for split in SPLITS[self.name]}

    def carries_current(self, split: str) -> bool:
        """Whether a shortcut carries a membrane current past this split, beside the spikes."""
        return self.name == "resnet18" and place(split)[1] is not None and self.shortcut != "spike"

    def no_split(self, split: str, channels: int, image_size: Size) -> str:
        """Why there is no split of this name."""
        return f"{self.name} has no split {split!r}; there is {', '.join(SPLITS[self.name])}"


def _kind(said: object) -> str:
    keys = said if isinstance(said, dict) else {}
    if isinstance(said, OwnSpec) or "import" in keys:
        return "own"
    return "pair" if isinstance(said, PairSpec) or "edge" in keys or "cloud" in keys else "shipped"


AnyBackbone: TypeAlias = Annotated[
    Annotated[BackboneSpec, pydantic.Tag("shipped")]
    | Annotated[OwnSpec, pydantic.Tag("own")]
    | Annotated[PairSpec, pydantic.Tag("pair")],
    pydantic.Discriminator(_kind),
]
"""A network that ships, with `import` one of one's own, or with `edge` and `cloud` step graphs made elsewhere."""


class BottleneckSpec(Strict):
    """The code at the split: channels and spatial stride of the encoder, or the compression they should give.

    With more than one layer a deep path lies beside the single one, in the encoder and in the decoder; the currents of
    both are added before the neuron that fires.
    """

    channels: int | None = pydantic.Field(None, ge=1, le=1024)
    stride: Side | None = None
    compression: float | None = pydantic.Field(
        None,
        ge=1,
        le=2**21,
        description="32 bits for each element at the split over the bits of the code, per timestep",
    )
    encoder: Literal["features", "pixels"] = pydantic.Field(
        "features", description="what is coded: the spikes at the split, or the input, in place of all layers up to it"
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
        if self.layers == 1 and self.encoder == "pixels":
            raise ValueError("an encoder of pixels has a layer for each halving and one more; give its `layers`")
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
    control: bool = pydantic.Field(
        False, description="trained in the `all` phases without a bottleneck: what their schedule alone gains"
    )

    @pydantic.model_validator(mode="after")
    def _controls_have_no_bottleneck(self) -> VariantSpec:
        if self.control and self.bottleneck is not None:
            raise ValueError("a control is the network without its bottleneck; leave `bottleneck` out")
        return self

    @property
    def kind(self) -> Literal["plain", "bottleneck", "control"]:
        """What it is beside the uncut network."""
        if self.bottleneck is not None:
            return "bottleneck"
        return "control" if self.control else "plain"

    @property
    def from_pixels(self) -> bool:
        """Whether the code is made of the input, in place of all layers up to the split."""
        return self.bottleneck is not None and self.bottleneck.encoder == "pixels"

    @property
    def trained_in(self) -> tuple[str, ...]:
        """Kinds of phases that train it; in none of them it has the weights of the uncut network."""
        return {"plain": (), "bottleneck": ("codec", "all"), "control": ("all",)}[self.kind]
