"""The int8 form of a deployed network: weights of 8 bits, and currents rounded to 8 bits before they reach a neuron.

A convolution of spikes then is one of integers, which processors do several times as fast as one of floats. Scales are
powers of two. So float32 gives the same numbers, and SpikingJelly the same spikes as the step graphs, bit for bit. The
stem (its input is pixels), transposed convolutions and the classifier stay as `deployable` leaves them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from testbed.data.datasets import Samples
from testbed.snn.network import Network

WEIGHT_LIMIT = 127
CURRENT_LOW, CURRENT_HIGH = -128, 127
CURRENT_BITS = range(8)
"""Grids of currents that are tried: multiples of 2^-bits, so from ±128 in steps of 1 to ±1 in steps of 1/128."""

SAMPLES = 64
"""Training samples whose currents choose the grids: some million currents for each layer of a full-width network."""

BATCH = 16


class Int8Conv(nn.Module):
    """A convolution whose weights are `weight_bits`-scaled integers of 8 bits, and whose currents are rounded.

    Channel c of the weights and biases lies on multiples of 2^-weight_bits[c], currents on multiples of
    2^-current_bits: the nearest one, ties to even, at least -128 and at most 127 steps.
    """

    weight_bits: Tensor
    current_bits: Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.register_buffer("weight_bits", _to_grid(conv))
        self.register_buffer("current_bits", torch.tensor(CURRENT_BITS[-1], dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [..., C, H, W] to rounded currents."""
        return rounded(self.conv(x), int(self.current_bits))


def rounded(currents: Tensor, bits: int) -> Tensor:
    """Currents on the grid of 2^-bits, as 8 bits hold them."""
    return torch.round(currents * 2.0**bits).clamp(CURRENT_LOW, CURRENT_HIGH) * 2.0**-bits


def int8_form(deployed: Network, samples: Samples, timesteps: int) -> Network:
    """A copy of a deployed network in the int8 form; the samples' images choose the grids of its currents.

    Each layer takes the grid whose rounding has the smallest mean square over the samples: too fine a grid cuts large
    currents off.
    """
    network = copy.deepcopy(deployed)
    convolutions = list(_replaced(network))
    squares = [torch.zeros(len(CURRENT_BITS), dtype=torch.float64) for _ in convolutions]
    hooks = [
        module.conv.register_forward_hook(_Squares(sums)) for module, sums in zip(convolutions, squares, strict=True)
    ]
    order = np.random.default_rng(0).permutation(len(samples))[:SAMPLES]
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            network(torch.from_numpy(samples.images[order[start : start + BATCH]]), timesteps)
            functional.reset_net(network)
    for hook in hooks:
        hook.remove()
    for module, sums in zip(convolutions, squares, strict=True):
        module.current_bits.fill_(CURRENT_BITS[int(sums.argmin())])
    return network


class _Squares:
    """Adds up the squares of what each grid would round away from a layer's currents."""

    def __init__(self, sums: Tensor) -> None:
        self._sums = sums

    def __call__(self, _module: nn.Module, _inputs: object, currents: Tensor) -> None:
        for at, bits in enumerate(CURRENT_BITS):
            self._sums[at] += (rounded(currents, bits) - currents).square().sum(dtype=torch.float64)


def _replaced(network: Network) -> Iterator[Int8Conv]:
    """Put an `Int8Conv` around every convolution of spikes, in the order of the network."""
    bottleneck = network.bottleneck
    spiking = [network.backbone.segments, *([] if bottleneck is None else [bottleneck.encoder, bottleneck.decoder])]
    for part in spiking:
        for parent in list(part.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.Conv2d) and not isinstance(parent, Int8Conv):
                    module = Int8Conv(child)
                    setattr(parent, name, module)
                    yield module


def _to_grid(conv: nn.Conv2d) -> Tensor:
    """Round weights [O, I, H, W] and biases [O] in place; returns the bits [O] of each channel's grid.

    Of the finest grid that holds a channel's largest weight and the next finer one, which cuts that weight off, it is
    the one that rounds less away.
    """
    with torch.no_grad():
        weights = conv.weight.double()
        largest = weights.abs().flatten(1).amax(1).clamp_min(2.0**-20)
        coarse = torch.floor(torch.log2(WEIGHT_LIMIT / largest))
        choices = [_rounded_weights(weights, bits) for bits in (coarse, coarse + 1)]
        lost = [(choice - weights).square().flatten(1).sum(1) for choice in choices]
        bits = torch.where(lost[1] < lost[0], coarse + 1, coarse)
        scale = 2.0**bits
        conv.weight.copy_(_rounded_weights(weights, bits))
        cast(Tensor, conv.bias).copy_(torch.round(cast(Tensor, conv.bias).double() * scale) / scale)
        return bits.to(torch.int32)


def _rounded_weights(weights: Tensor, bits: Tensor) -> Tensor:
    scale = (2.0**bits).reshape(-1, 1, 1, 1)
    return torch.round(weights * scale).clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT) / scale
