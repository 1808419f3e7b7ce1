"""Spiking backbones with split points, built from SpikingJelly's layers and neurons.

A backbone is a stateless stem (convolution and batch norm: with direct coding its output is the same
at every timestep) followed by named segments with LIF state and a linear head. Every segment ends in a
spiking neuron, so what crosses a split is binary.

SpikingJelly's own `spiking_resnet` has an ImageNet stem (7x7, stride 2, max pooling); 32x32 images
need the 3x3 CIFAR stem of He et al. 2016 (arXiv 1512.03385, section 4.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from spikingjelly.activation_based import layer, neuron, surrogate
from torch import Tensor, nn

RESNET18_STAGES = (1, 2, 4, 8)  # channel multiples of the four stages of two basic blocks each


@dataclass(frozen=True)
class Neuron:
    """The LIF neuron of every spiking layer: v ← v − (v − v_reset)/tau + x, hard reset to 0 at v ≥ 1.

    The input is not decayed (`decay_input=False`): with SpikingJelly's default each layer would see half
    its input at tau = 2, and deep narrow networks then fire too little to train well.
    """

    tau: float = 2.0

    def build(self) -> nn.Module:
        """A new SpikingJelly LIF node in multi-step mode."""
        return cast(
            nn.Module,
            neuron.LIFNode(
                tau=self.tau,
                decay_input=False,
                v_threshold=1.0,
                v_reset=0.0,
                surrogate_function=surrogate.ATan(),
                detach_reset=True,
                step_mode="m",
            ),
        )


def _conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        layer.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False, step_mode="m"),
        layer.BatchNorm2d(outputs, step_mode="m"),
    )


class BasicBlock(nn.Module):
    """Residual block whose neuron fires after the addition, so its output is binary."""

    def __init__(self, inputs: int, outputs: int, stride: int, lif: Neuron) -> None:
        super().__init__()
        self.conv1 = _conv_bn(inputs, outputs, 3, stride)
        self.sn1 = lif.build()
        self.conv2 = _conv_bn(outputs, outputs, 3)
        self.shortcut = nn.Identity() if stride == 1 and inputs == outputs else _conv_bn(inputs, outputs, 1, stride)
        self.sn2 = lif.build()

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T, N, C, H, W] (or [N, C, H, W] in single-step mode) to spikes."""
        out = self.conv2(self.sn1(self.conv1(x)))
        return cast(Tensor, self.sn2(out + self.shortcut(x)))


class Head(nn.Module):
    """Mean over space, then a linear classifier."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [..., C, H, W] to logits [..., classes]."""
        return cast(Tensor, self.classifier(x.mean(dim=(-2, -1))))


class SpikingResNet18(nn.Module):
    """ResNet-18 for small images. `width` is the stem's channel count: 64 is the full network."""

    def __init__(self, width: int, in_channels: int, classes: int, lif: Neuron) -> None:
        super().__init__()
        self.width = width
        self.stem = _conv_bn(in_channels, width, 3)
        self.segments = nn.ModuleDict({"stem": lif.build()})
        inputs = width
        for number, multiple in enumerate(RESNET18_STAGES, start=1):
            outputs, stride = width * multiple, 1 if number == 1 else 2
            self.segments[f"stage{number}"] = nn.Sequential(
                BasicBlock(inputs, outputs, stride, lif), BasicBlock(outputs, outputs, 1, lif)
            )
            inputs = outputs
        self.head = Head(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Stem output, one per timestep [T, N, C, H, W], to logits [T, N, classes]."""
        return self.after("", x)

    def until(self, split: str, x: Tensor) -> Tensor:
        """Run the segments up to and including `split`: the edge's part."""
        for name, segment in self.segments.items():
            x = segment(x)
            if name == split:
                return x
        raise KeyError(split)

    def after(self, split: str, x: Tensor) -> Tensor:
        """Run the segments after `split` and the head: the cloud's part ('' runs all of them)."""
        passed = split == ""
        for name, segment in self.segments.items():
            if passed:
                x = segment(x)
            passed = passed or name == split
        return cast(Tensor, self.head(x))

    def feature_shape(self, split: str, image_size: int) -> tuple[int, int, int]:
        """Shape (C, H, W) of the spikes at a split for square images."""
        if split == "stem":
            return self.width, image_size, image_size
        stage = int(split.removeprefix("stage"))
        side = image_size
        for _ in range(stage - 1):
            side = (side + 1) // 2  # a 3x3 convolution with stride 2 and padding 1
        return self.width * RESNET18_STAGES[stage - 1], side, side


def direct_code(current: Tensor, timesteps: int) -> Tensor:
    """Repeat the stem's output [N, C, H, W] over time [T, N, C, H, W] without copying it."""
    return current.unsqueeze(0).expand(timesteps, *current.shape)
