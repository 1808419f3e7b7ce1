"""Spiking backbones with split points, built from SpikingJelly's layers and neurons.

A backbone is a stateless stem (convolution and batch norm: with direct coding its output is the same
at every timestep) followed by named segments with LIF state and a linear head. Every segment ends in a
spiking neuron or in max pooling of spikes (a logical or), so what crosses a split is binary.

SpikingJelly's own builders are for ImageNet: a 7x7 stem with stride 2 and pooling, and for VGG a head of
134 million parameters. 32x32 images need the 3x3 CIFAR stem of He et al. 2016 (arXiv 1512.03385, section 4.2).
"""

from __future__ import annotations

from typing import cast

from spikingjelly.activation_based import layer
from torch import Tensor, nn

from testbed.snn.architecture import RESNET18_STAGES, VGG16_STAGES, Shortcut
from testbed.snn.neurons import Neuron


def conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution without bias and its batch norm, the pair that export folds."""
    return nn.Sequential(
        layer.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False, step_mode="m"),
        layer.BatchNorm2d(outputs, step_mode="m"),
    )


class Head(nn.Module):
    """Mean over space, then a linear classifier."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [..., C, H, W] to logits [..., classes]."""
        return cast(Tensor, self.classifier(x.mean(dim=(-2, -1))))


class Backbone(nn.Module):
    """A stem, named segments in order, and a head. Split points are the names of the segments.

    `folds` names layers with weights and the batch norms behind them that are not side by side in a Sequential;
    `stem_of` is the segment that the stem was taken from, if it was.
    """

    def __init__(
        self, stem: nn.Module, segments: dict[str, nn.Module], head: nn.Module, stem_of: str | None = None
    ) -> None:
        super().__init__()
        self.stem = stem
        self.segments = nn.ModuleDict(segments)
        self.head = head
        self.stem_of = stem_of
        self.folds: list[tuple[str, str]] = []

    def layers_of(self, name: str) -> list[nn.Module]:
        """The layers that a user knows as this segment."""
        return [self.segments[name], *([self.stem] if name == self.stem_of else [])]

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


class ResidualStage(nn.Module):
    """Two basic blocks. The second block's shortcut carries the first one's spikes or its membrane current.

    `spike`: the neuron after the addition fires, and its spikes are added to the second block (Spiking ResNet,
    Fang et al. 2021, arXiv 2102.04159, figure 1b). `membrane`: the current before that neuron is added instead
    (MS-ResNet, Hu et al. 2021, arXiv 2112.08954), which halves the neurons on the path of the gradient. The stage's
    input and output are spikes in both.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: Shortcut, lif: Neuron) -> None:
        super().__init__()
        self.shortcut = shortcut
        same = stride == 1 and inputs == outputs
        self.skip = nn.Identity() if same else conv_bn(inputs, outputs, 1, stride)
        self.conv1, self.sn1 = conv_bn(inputs, outputs, 3, stride), lif.build()
        self.conv2, self.sn2 = conv_bn(outputs, outputs, 3), lif.build()
        self.conv3, self.sn3 = conv_bn(outputs, outputs, 3), lif.build()
        self.conv4, self.sn4 = conv_bn(outputs, outputs, 3), lif.build()

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T, N, C, H, W] (or [N, C, H, W] in single-step mode) to spikes."""
        current = self.conv2(self.sn1(self.conv1(x))) + self.skip(x)
        spikes = self.sn2(current)
        carried = current if self.shortcut == "membrane" else spikes
        return cast(Tensor, self.sn4(self.conv4(self.sn3(self.conv3(spikes))) + carried))


def resnet18(width: int, in_channels: int, classes: int, lif: Neuron, shortcut: Shortcut) -> Backbone:
    """ResNet-18 for small images. `width` is the stem's channel count: 64 is the full network."""
    segments: dict[str, nn.Module] = {"stem": lif.build()}
    inputs = width
    for number, multiple in enumerate(RESNET18_STAGES, start=1):
        outputs = width * multiple
        segments[f"stage{number}"] = ResidualStage(inputs, outputs, 1 if number == 1 else 2, shortcut, lif)
        inputs = outputs
    return Backbone(conv_bn(in_channels, width, 3), segments, Head(inputs, classes))


def vgg16(width: int, in_channels: int, classes: int, lif: Neuron) -> Backbone:
    """VGG-16 with batch norm for small images. `width` is the first convolution's channel count, 64 in full."""
    segments: dict[str, nn.Module] = {"stem": lif.build()}
    inputs = width
    for number, (multiple, convolutions) in enumerate(VGG16_STAGES, start=1):
        outputs = width * multiple
        modules: list[nn.Module] = []
        for _ in range(convolutions - 1 if number == 1 else convolutions):  # the stem is the very first one
            modules += [conv_bn(inputs, outputs, 3), lif.build()]
            inputs = outputs
        segments[f"stage{number}"] = nn.Sequential(*modules, layer.MaxPool2d(2, 2, step_mode="m"))
    return Backbone(conv_bn(in_channels, width, 3), segments, Head(inputs, classes))


def direct_code(current: Tensor, timesteps: int) -> Tensor:
    """Repeat the stem's output [N, C, H, W] over time [T, N, C, H, W] without copying it."""
    return current.unsqueeze(0).expand(timesteps, *current.shape)
