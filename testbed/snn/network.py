"""The network that is trained and exported: normalisation, backbone and, at a split, a spiking bottleneck."""

from __future__ import annotations

import copy
from typing import cast

import torch
from spikingjelly.activation_based import layer
from torch import Tensor, nn

from testbed.snn.backbones import Backbone, direct_code
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


class Bottleneck(nn.Module):
    """Learned spike-driven compression at a split, after NeuCODEX (arXiv 2509.19156).

    encoder: SN(BN(Conv)) from [C, H, W] to a binary code [C', H/stride, W/stride];
    decoder: SN(BN(ConvTranspose)) back to binary features, so the layers behind it see spikes as before.
    """

    def __init__(self, channels: int, code_channels: int, stride: int, lif: Neuron) -> None:
        super().__init__()
        self.code_channels, self.stride = code_channels, stride
        self.encoder = nn.Sequential(
            nn.Sequential(
                layer.Conv2d(
                    channels, code_channels, 2 * stride + 1, stride, padding=stride, bias=False, step_mode="m"
                ),
                layer.BatchNorm2d(code_channels, step_mode="m"),
            ),
            lif.build(),
        )
        # The output is exactly stride times the code's side: (h-1)s - 2s/2 + 2s for even s.
        expand: nn.Module = (
            layer.Conv2d(code_channels, channels, 3, padding=1, bias=False, step_mode="m")
            if stride == 1
            else layer.ConvTranspose2d(
                code_channels, channels, 2 * stride, stride, padding=stride // 2, bias=False, step_mode="m"
            )
        )
        self.decoder = nn.Sequential(nn.Sequential(expand, layer.BatchNorm2d(channels, step_mode="m")), lif.build())

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
    ) -> None:
        super().__init__()
        self.normalize, self.backbone, self.bottleneck = normalize, backbone, bottleneck
        self.split = split

    def cut(self, split: str, bottleneck: Bottleneck | None) -> Network:
        """A copy of this network cut at `split`; training it leaves this one as it is."""
        return Network(copy.deepcopy(self.normalize), copy.deepcopy(self.backbone), split, bottleneck)

    def current(self, images: Tensor) -> Tensor:
        """What the stem gives the first neuron [N, C, H, W], for images or for the event frames of one timestep."""
        return cast(Tensor, self.backbone.stem(self.normalize(images).unsqueeze(0)).squeeze(0))

    def edge(self, current: Tensor) -> Tensor:
        """Edge layers and encoder: stem outputs [T, N, C, H, W] to codes [T, N, C', H', W'] of zeros and ones."""
        assert self.split is not None
        features = self.backbone.until(self.split, current)
        return features if self.bottleneck is None else cast(Tensor, self.bottleneck.encoder(features))

    def cloud(self, code: Tensor) -> Tensor:
        """Decoder and cloud layers: codes [T, N, C', H', W'] to logits [T, N, K]."""
        assert self.split is not None
        features = code if self.bottleneck is None else self.bottleneck.decoder(code)
        return self.backbone.after(self.split, features)

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
