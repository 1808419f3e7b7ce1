"""The network that is deployed: batch norm folded in, and every weight a multiple of 2^-12, or an integer of 8 bits.

Spikes are zeros and ones, so every sum that a convolution forms is then a multiple of 2^-12. Float32 holds it exactly,
in any order of summation. Such a network gives the same spikes, bit for bit, whichever processor or library runs it.
"""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from testbed.data.datasets import Samples
from testbed.snn.architecture import Weights
from testbed.snn.int8 import int8_form
from testbed.snn.network import Network
from testbed.snn.own import settle

WEIGHT_GRID_BITS = 12


def deployable(network: Network) -> Network:
    """A copy in evaluation mode with batch norm folded and every weight on the grid.

    This is the network that the step graphs compute; it runs in SpikingJelly like the trained one.
    """
    folded = copy.deepcopy(network).cpu().eval()
    settle(folded.backbone)
    _fold(folded)
    with torch.no_grad():
        for parameter in folded.parameters():
            parameter.copy_(torch.round(parameter * 2.0**WEIGHT_GRID_BITS) * 2.0**-WEIGHT_GRID_BITS)
    return folded


def deployed(network: Network, weights: Weights, samples: Samples, timesteps: int) -> Network:
    """The network that is exported with this form of its weights; training samples choose the grids of int8."""
    folded = deployable(network)
    return folded if weights == "float" else int8_form(folded, samples, timesteps)


def _fold(module: nn.Module) -> None:
    """Fold every (convolution, batch norm) pair below a module, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.Sequential) and len(child) == 2 and isinstance(child[1], nn.BatchNorm2d):
            transposed = isinstance(child[0], nn.ConvTranspose2d)
            setattr(module, name, fuse_conv_bn_eval(cast(Any, child[0]), child[1], transpose=transposed))
        else:
            _fold(child)
