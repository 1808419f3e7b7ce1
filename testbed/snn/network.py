"""The network that is trained and exported: normalisation, backbone and, at a split, a spiking bottleneck."""

from __future__ import annotations

import copy
from typing import cast

import torch
from spikingjelly.activation_based import layer
from torch import Tensor, nn

from testbed.snn.backbones import Backbone, conv_bn, direct_code
from testbed.snn.neurons import Neuron

PIXEL_LIMIT = 16.0
"""Normalised pixels are kept within ±16: no image gets there, but a hot pixel of an event camera may, and sums of what
the weights make of it must stay exact as well."""

PIXEL_GRID_BITS = 5
"""Normalised pixels are rounded to multiples of 2^-5, so that products with weights on a grid stay exact in float32."""


class Normalize(nn.Module):
    """uint8 images [N, C, H, W] to float32 with zero mean and unit deviation per channel, on a grid of 2^-5."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.reshape(1, -1, 1, 1).float())
        self.register_buffer("std", std.reshape(1, -1, 1, 1).float())

    def forward(self, images: Tensor) -> Tensor:
        """Elementwise IEEE arithmetic alone: the same bits on every processor."""
        scaled = (images.to(torch.float32) / 255.0 - self.mean) / self.std
        limited = scaled.clamp(-PIXEL_LIMIT, PIXEL_LIMIT)
        return torch.round(limited * 2.0**PIXEL_GRID_BITS) * 2.0**-PIXEL_GRID_BITS


def _expand(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        layer.ConvTranspose2d(inputs, outputs, 2 * stride, stride, padding=stride // 2, bias=False, step_mode="m"),
        layer.BatchNorm2d(outputs, step_mode="m"),
    )


def _shrink(inputs: int, outputs: int, stride: int, layers: int, hidden: int, lif: Neuron) -> nn.Sequential:
    """Halve the side until it is that of the code, go on at that side, and end in the code's current."""
    halvings = stride.bit_length() - 1
    path: list[nn.Module] = []
    for number in range(layers - 1):
        path += [conv_bn(inputs if number == 0 else hidden, hidden, 3, 2 if number < halvings else 1), lif.build()]
    return nn.Sequential(*path, conv_bn(hidden, outputs, 3))


def _grow(inputs: int, outputs: int, stride: int, layers: int, hidden: int, lif: Neuron) -> nn.Sequential:
    """The same backwards: layers at the code's side, then one for each doubling, the last to the features."""
    doublings = stride.bit_length() - 1
    path: list[nn.Module] = []
    for number in range(layers - 1):
        first = inputs if number == 0 else hidden
        doubles = number >= layers - doublings
        path += [_expand(first, hidden, 2) if doubles else conv_bn(first, hidden, 3), lif.build()]
    last = _expand(hidden, outputs, 2) if doublings else conv_bn(hidden, outputs, 3)
    return nn.Sequential(*path, last)


class Beside(nn.Module):
    """Two ways from the same input to one current: a single layer, and a deep path that is added to it."""

    def __init__(self, direct: nn.Module, deep: nn.Module) -> None:
        super().__init__()
        self.direct, self.deep = direct, deep

    def forward(self, x: Tensor) -> Tensor:
        """Sum of the two currents."""
        return cast(Tensor, self.direct(x) + self.deep(x))


class Bottleneck(nn.Module):
    """Learned spike-driven compression at a split, after NeuCODEX (arXiv 2509.19156).

    encoder: SN(BN(Conv)) from [C, H, W] to a binary code [C', H/stride, W/stride];
    decoder: SN(BN(ConvTranspose)) back to binary features, so the layers behind it see spikes as before. Where a
    shortcut carries the membrane current past the split, the current of the decoder's neuron takes its place.
    With `layers` over 1, a path of so many spiking layers lies beside each of the two (`Beside`): one that halves the
    side at each layer, and one that doubles it.

    With `pixels`, the channels of the input and its side over the code's, the encoder is that path alone, from the
    input: its first layer is the edge's `stem`, and no layer of the backbone in front of the split is run.
    """

    def __init__(
        self,
        channels: int,
        code_channels: int,
        stride: int,
        lif: Neuron,
        *,
        layers: int = 1,
        hidden: int | None = None,
        decoder_hidden: int | None = None,
        pixels: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.code_channels, self.stride = code_channels, stride
        self.stem: nn.Module | None = None
        encode: nn.Module = conv_bn(channels, code_channels, 2 * stride + 1, stride)
        # The output is exactly stride times the code's side: (h-1)s - 2s/2 + 2s for even s.
        decode: nn.Module = (
            conv_bn(code_channels, channels, 3) if stride == 1 else _expand(code_channels, channels, stride)
        )
        if layers > 1:
            between = hidden or 2 * channels
            encode = Beside(encode, _shrink(channels, code_channels, stride, layers, between, lif))
            decode = Beside(decode, _grow(code_channels, channels, stride, layers, decoder_hidden or between, lif))
        self.encoder = nn.Sequential(encode, lif.build())
        if pixels is not None:
            inputs, shrinks = pixels
            self.stem, *path = _shrink(inputs, code_channels, shrinks, layers, hidden or 2 * channels, lif)
            self.encoder = nn.Sequential(*path, lif.build())
        self.decoder = nn.Sequential(decode, lif.build())

    def code_shape(self, feature: tuple[int, int, int]) -> tuple[int, int, int]:
        """Shape (C', H', W') of the code for features of shape (C, H, W)."""
        _, height, width = feature
        return self.code_channels, (height - 1) // self.stride + 1, (width - 1) // self.stride + 1


class Network(nn.Module):
    """A classifier of uint8 images, cut at `split` where it has one.

    Without a bottleneck the spikes at the split pass as they are, so cutting changes no result.
    """

    def __init__(
        self,
        normalize: Normalize,
        backbone: Backbone,
        split: str | None = None,
        bottleneck: Bottleneck | None = None,
        *,
        control: bool = False,
    ) -> None:
        super().__init__()
        self.normalize, self.backbone, self.bottleneck = normalize, backbone, bottleneck
        self.split, self.control = split, control

    @property
    def has_own_weights(self) -> bool:
        """Whether it is trained; else it is the uncut network, cut."""
        return self.split is None or self.bottleneck is not None or self.control

    def cut(self, split: str, bottleneck: Bottleneck | None, *, control: bool = False) -> Network:
        """A copy of this network cut at `split`; training it leaves this one as it is."""
        parts = copy.deepcopy(self.normalize), copy.deepcopy(self.backbone)
        return Network(*parts, split, bottleneck, control=control)

    def current(self, images: Tensor) -> Tensor:
        """What the stem gives the first neuron [N, C, H, W], for images or for the event frames of one timestep."""
        own = None if self.bottleneck is None else self.bottleneck.stem
        stem = self.backbone.stem if own is None else own
        return cast(Tensor, stem(self.normalize(images).unsqueeze(0)).squeeze(0))

    def skipped(self) -> list[nn.Module]:
        """The layers of the backbone that a code of pixels takes the place of."""
        if self.split is None or self.bottleneck is None or self.bottleneck.stem is None:
            return []
        return [self.backbone.stem, *self.backbone.halves(self.split)[0]]

    def edge(self, current: Tensor) -> Tensor:
        """Edge layers and encoder: stem outputs [T, N, C, H, W] to codes [T, N, C', H', W'] of zeros and ones."""
        assert self.split is not None
        features = current if self.skipped() else self.backbone.until(self.split, current)
        return features if self.bottleneck is None else cast(Tensor, self.bottleneck.encoder(features))

    def cloud(self, code: Tensor) -> Tensor:
        """Decoder and cloud layers: codes [T, N, C', H', W'] to logits [T, N, K]."""
        return self.behind(code, None)

    def behind(self, code: Tensor, left: dict[str, Tensor] | None) -> Tensor:
        """`cloud`, which tells `left` what leaves each of its segments [T, N, C, H, W]."""
        assert self.split is not None
        if self.bottleneck is None:
            return self.backbone.after(self.split, code, left=left)
        decode, neuron = self.bottleneck.decoder
        current = decode(code)
        return self.backbone.after(self.split, neuron(current), current, left)

    def currents(self, inputs: Tensor, timesteps: int) -> Tensor:
        """What the stem gives the first neuron at every timestep [T, N, C, H, W].

        Images [N, C, H, W] go through the stem once and are repeated (direct coding, Rathi and Roy 2021,
        arXiv 2008.03658); event frames [N, T, C, H, W] go through it frame by frame.
        """
        if inputs.dim() == 4:
            return direct_code(self.current(inputs), timesteps)
        frames = inputs[:, :timesteps].transpose(0, 1)
        currents = self.current(frames.flatten(0, 1))
        return currents.reshape(*frames.shape[:2], *currents.shape[1:])

    def forward(self, inputs: Tensor, timesteps: int) -> Tensor:
        """uint8 images [N, C, H, W] or event frames [N, T, C, H, W] to logits [T, N, K]."""
        current = self.currents(inputs, timesteps)
        return self.backbone(current) if self.split is None else self.cloud(self.edge(current))
