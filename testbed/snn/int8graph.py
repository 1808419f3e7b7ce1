"""The int8 form as it is exported: spikes are bytes, channels come last, and each layer is a quantised convolution.

ONNX Runtime makes of DequantizeLinear → Conv → QuantizeLinear its QLinearConv, whose kernels want channels last. With
states and spikes in that layout no transposition is left between two layers. A runtime without such kernels computes
the same nodes in float32, and the same numbers.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn

from testbed.snn.int8 import Int8Conv
from testbed.snn.network import Network

OPSET = 20
"""Of the operators here; `testbed.snn.export` exports with it."""

ZERO_CURRENT = 128
"""Currents leave a convolution as unsigned bytes: QLinearConv has one type for what comes in and goes out."""


def graph_form(network: Network) -> Network:
    """What is exported of a deployed network: itself, or for the int8 form a copy that computes nothing in torch."""
    if not any(isinstance(module, Int8Conv) for module in network.modules()):
        return network
    source = copy.deepcopy(network)
    result = _ChannelsLast(source.normalize, source.backbone, source.split, source.bottleneck)
    backbone = result.backbone
    graph_module(backbone.segments)
    if result.bottleneck is not None:
        graph_module(result.bottleneck)
        if result.bottleneck.stem is not None:
            result.bottleneck.stem = nn.Sequential(result.bottleneck.stem, _Moved())
    backbone.stem = nn.Sequential(backbone.stem, _Moved())
    backbone.head = cast(Any, _Head(backbone.head))
    return result


class _ChannelsLast(Network):
    """A network whose halves meet in codes with channels first, as codecs and the wire have them."""

    def edge(self, current: Tensor) -> Tensor:
        return super().edge(current).movedim(-1, -3)

    def cloud(self, code: Tensor) -> Tensor:
        return super().cloud(code.movedim(-3, -1).to(torch.uint8))


class _Moved(nn.Module):
    """Channels last instead of first."""

    def forward(self, x: Tensor) -> Tensor:
        return x.movedim(-3, -1)


class _Around(nn.Module):
    """A layer that stays as it is: floats, channels first."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.inner(x.movedim(-1, -3).float()).movedim(-3, -1))


class _Head(_Around):
    """What ends in logits, which have no channels to move back."""

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.inner(x.movedim(-1, -3).float()))


class _BytePool(nn.Module):
    """Max pooling of bytes, which ONNX Runtime has and torch has not."""

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        assert pool.stride == pool.kernel_size
        self._side = cast(int, pool.kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """[N, H, W, C], or with timesteps before it."""
        first = _flat(x).permute(0, 3, 1, 2)
        shape = (*first.shape[:2], *(size // self._side for size in first.shape[2:]))
        sides = [self._side, self._side]
        pooled = _node("MaxPool", [first], first.dtype, shape, kernel_shape=sides, strides=sides)
        return _as_before(pooled.permute(0, 2, 3, 1), x)


class _QuantisedConv(nn.Module):
    """Spikes of bytes to float currents on their grid, by integers in between."""

    weights: Tensor
    biases: Tensor
    scales: Tensor
    step: Tensor
    zero: Tensor
    one: Tensor

    def __init__(self, module: Int8Conv) -> None:
        super().__init__()
        conv = module.conv
        self._stride, self._padding = conv.stride, conv.padding
        scales = 2.0 ** -module.weight_bits.float()
        integers = conv.weight.detach() / scales.reshape(-1, 1, 1, 1)
        self.register_buffer("weights", integers.to(torch.int8))
        self.register_buffer("biases", (cast(Tensor, conv.bias).detach() / scales).to(torch.int32))
        self.register_buffer("scales", scales)
        self.register_buffer("step", 2.0 ** -module.current_bits.float())
        self.register_buffer("zero", torch.tensor(ZERO_CURRENT, dtype=torch.uint8))
        self.register_buffer("one", torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        """[N, H, W, C], or with timesteps before it."""
        spikes = _dequantised(_flat(x).permute(0, 3, 1, 2), self.one)
        weights, biases = (_dequantised(part, self.scales, axis=0) for part in (self.weights, self.biases))
        currents = nn.functional.conv2d(spikes, weights, biases, self._stride, self._padding)
        in_bytes = _node("QuantizeLinear", [currents, self.step, self.zero], torch.uint8, currents.shape)
        return _as_before(_dequantised(in_bytes.permute(0, 2, 3, 1), self.step, self.zero), x)


class _ByteLIF(neuron.LIFNode):  # type: ignore[misc]
    """SpikingJelly's LIF neuron in five nodes, with spikes of bytes. Its state is what the leak leaves of a potential.

    A spike (1) or rest (0) is dequantised as (byte - 1) · -decay: a rest keeps that share of the potential, and a spike
    nothing of it. One multiplication both leaks and resets.
    """

    minus_decay: Tensor
    spike: Tensor

    def __init__(self, lif: neuron.LIFNode) -> None:
        super().__init__(
            tau=lif.tau, decay_input=False, v_threshold=lif.v_threshold, v_reset=0.0, step_mode=lif.step_mode
        )
        self.register_buffer("minus_decay", torch.tensor(1.0 / lif.tau - 1.0))
        self.register_buffer("spike", torch.tensor(1, dtype=torch.uint8))

    def single_step_forward(self, x: Tensor) -> Tensor:
        potential = x + cast(Any, self).v
        spikes = cast(Tensor, potential >= self.v_threshold).to(torch.uint8)
        self.v = potential * _dequantised(spikes, self.minus_decay, self.spike)
        return spikes

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        """Slices that keep their first dimension need no other nodes to come apart and together."""
        spikes = torch.cat([self.single_step_forward(x) for x in torch.split(x_seq, 1)])
        self.v = self.v.reshape(x_seq.shape[1:])
        return spikes


_CONVERTED: dict[type[nn.Module], type[nn.Module]] = {
    Int8Conv: _QuantisedConv,
    neuron.LIFNode: _ByteLIF,
    nn.ConvTranspose2d: _Around,
    nn.MaxPool2d: _BytePool,
}


def graph_module(module: nn.Module) -> nn.Module:
    """A layer in its graph form: bytes of spikes go in, channels last; or a module whose layers are put into theirs."""
    kind = next((made for source, made in _CONVERTED.items() if isinstance(module, source)), None)
    if kind is not None:
        return kind(module)
    for name, child in module.named_children():
        setattr(module, name, graph_module(child))
    return module


def _flat(x: Tensor) -> Tensor:
    """Timesteps and batch as one dimension; a single timestep as it is, without a node for nothing."""
    return x.flatten(0, 1) if x.ndim == 5 else x


def _as_before(y: Tensor, x: Tensor) -> Tensor:
    """What was made of `_flat(x)` with the leading dimensions of x."""
    return y.reshape(*x.shape[:2], *y.shape[1:]) if x.ndim == 5 else y


def _dequantised(x: Tensor, scale: Tensor, zero: Tensor | None = None, **attributes: int) -> Tensor:
    """(x - zero) · scale."""
    inputs = [x, scale] if zero is None else [x, scale, zero]
    return _node("DequantizeLinear", inputs, torch.float32, x.shape, **attributes)


def _node(kind: str, inputs: list[Tensor], dtype: torch.dtype, shape: Sequence[int], **attributes: Any) -> Tensor:
    """An operator of ONNX as it is to stand in the graph."""
    return torch.onnx.ops.symbolic(kind, inputs, attributes, dtype=dtype, shape=shape, version=OPSET)
