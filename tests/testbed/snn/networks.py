"""Networks as users write them, each with something of its own; every function is `FILE.py:FUNCTION` of a recipe."""

from __future__ import annotations

import torch
from spikingjelly.activation_based import layer, neuron
from torch import Tensor, nn


def three_layers(
    classes: int,
    channels: int,
    width: int = 6,
    node: str = "LIFNode",
    tau: float = 2.0,
    soft: bool = False,
    decay_input: bool = False,
    batch_norm: bool = True,
) -> dict[str, nn.Module]:
    """Plain torch layers beside SpikingJelly's, in a Sequential each."""

    def spike() -> nn.Module:
        reset = None if soft else 0.0
        if node == "IFNode":
            return neuron.IFNode(v_reset=reset)
        if node == "LIFNode":
            return neuron.LIFNode(tau=tau, v_reset=reset, decay_input=decay_input)
        return neuron.ParametricLIFNode(init_tau=tau, v_reset=reset, decay_input=decay_input)

    norm = nn.BatchNorm2d(width) if batch_norm else nn.Identity()
    return {
        "first": nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), norm, spike(), nn.MaxPool2d(2)),
        "second": nn.Sequential(
            layer.Conv2d(width, width, 3, padding=1, bias=False), layer.BatchNorm2d(width), spike()
        ),
        "head": nn.Sequential(
            nn.Flatten(), layer.Dropout(0.2), nn.LazyLinear(24), nn.BatchNorm1d(24), spike(), nn.Linear(24, classes)
        ),
    }


class Block(nn.Module):
    """A residual block with layers in attributes, for one timestep at a time."""

    def __init__(self, width: int, node: nn.Module, end: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.sn, self.end = node, end

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [N, C, H, W] to spikes."""
        return self.end(self.bn(self.conv(self.sn(x))) + x)


class Mean(nn.Module):
    """Mean over space."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C]."""
        return x.mean((2, 3))


def residual(classes: int, channels: int) -> dict[str, nn.Module]:
    """A block of one's own between two Sequentials; what leaves `added` is a current."""
    return {
        "stem": nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.BatchNorm2d(4), neuron.LIFNode()),
        "block": Block(4, neuron.IFNode(), neuron.LIFNode()),
        "added": Block(4, neuron.IFNode(), nn.Identity()),
        "head": nn.Sequential(neuron.IFNode(), Mean(), nn.Linear(4, classes)),
    }


def _between(*layers: nn.Module) -> dict[str, nn.Module]:
    return {
        "first": nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), neuron.IFNode(v_threshold=1000.0)),  # silent, untrained
        "middle": nn.Sequential(*layers),
        "head": nn.Sequential(nn.Flatten(), nn.LazyLinear(10)),
    }


def pooled_by_mean() -> dict[str, nn.Module]:
    """Means of four spikes leave `middle`."""
    return _between(nn.AvgPool2d(2))


def flat() -> dict[str, nn.Module]:
    """Spikes without a place leave `middle`."""
    return _between(nn.Flatten(), nn.LazyLinear(8), neuron.IFNode())


def adaptive_threshold() -> dict[str, nn.Module]:
    """A neuron whose state cannot be exported."""
    return _between(nn.Conv2d(4, 4, 3), neuron.EIFNode())


def reset_below_zero() -> dict[str, nn.Module]:
    """A neuron that does not start at 0."""
    return _between(nn.Conv2d(4, 4, 3), neuron.LIFNode(v_reset=-0.5))


def layer_norm() -> dict[str, nn.Module]:
    """Sums whose order matters."""
    return _between(nn.Conv2d(4, 4, 3), nn.GroupNorm(2, 4), neuron.IFNode())


def thirds() -> dict[str, nn.Module]:
    """Means of nine spikes, which float32 does not hold, go into a convolution and on into a neuron."""
    return _between(nn.AvgPool2d(3), nn.Conv2d(4, 4, 1), neuron.IFNode())


def norm_first() -> dict[str, nn.Module]:
    """A batch norm that follows no convolution."""
    return _between(nn.MaxPool2d(2), nn.BatchNorm2d(4), neuron.IFNode())


class BeforeAndAfter(nn.Module):
    """Uses what its convolution gives beside what the batch norm makes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        """Their sum."""
        current = self.conv(x)
        return self.bn(current) + current


def used_twice() -> dict[str, nn.Module]:
    """A convolution whose output is used by more than its batch norm."""
    return _between(BeforeAndAfter(), neuron.IFNode())


def wrong_size() -> dict[str, nn.Module]:
    """A layer that does not fit the one before."""
    return _between(nn.Conv2d(3, 4, 3), neuron.IFNode())


def one_segment() -> dict[str, nn.Module]:
    """Nothing to cut."""
    return {"all": nn.Sequential(nn.Flatten(), nn.LazyLinear(10))}


def no_dict() -> nn.Module:
    """A module instead of segments."""
    return nn.Linear(1, 1)


def images_out() -> dict[str, nn.Module]:
    """No logits at the end."""
    return {**_between(), "head": nn.Conv2d(4, 4, 3)}


def fails() -> dict[str, nn.Module]:
    """Raises."""
    return {"a": nn.Linear(1, torch.tensor([1, 2]).item()), "b": nn.Identity()}
