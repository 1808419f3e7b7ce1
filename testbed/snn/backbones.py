"""Spiking backbones with split points, built from SpikingJelly's layers and neurons.

A backbone is a stateless stem (convolution and batch norm: with direct coding its output is the same
at every timestep) followed by named segments with LIF state and a linear head. Every segment ends in a
spiking neuron or in max pooling of spikes (a logical or), so what crosses a split is binary. A `Stage` can be cut
within as well (docs/decisions/0022-splits-within-a-stage.md).

SpikingJelly's own builders are for ImageNet: a 7x7 stem with stride 2 and pooling, and for VGG a head of
134 million parameters. 32x32 images need the 3x3 CIFAR stem of He et al. 2016 (arXiv 1512.03385, section 4.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

from spikingjelly.activation_based import layer
from torch import Tensor, nn

from testbed.snn.architecture import RESNET18_STAGES, VGG16_STAGES, Shortcut, place
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


class Stage(Protocol):
    """A segment that can be cut within: `inner` says behind which of its blocks or convolutions, counted from 1."""

    def until(self, inner: int, x: Tensor) -> Tensor:
        """Spikes [T, N, C, H, W] at the split, of what the stage takes."""

    def after(self, inner: int, spikes: Tensor, current: Tensor | None) -> Tensor:
        """What leaves the stage, of spikes at the split and the membrane current that they were fired from.

        The current may be None where no shortcut carries it.
        """

    def halves(self, inner: int) -> tuple[Sequence[nn.Module], Sequence[nn.Module]]:
        """The layers up to the split, and those behind it."""


class Backbone(nn.Module):
    """A stem, named segments in order, and a head.

    Split points are the names of the segments, and `SEGMENT.INNER` within a segment that is a `Stage`.

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
        """Run the layers up to and including `split`: the edge's part."""
        name, inner = place(split)
        for here, segment in self.segments.items():
            if here == name:
                return cast(Tensor, segment(x) if inner is None else cast(Stage, segment).until(inner, x))
            x = segment(x)
        raise KeyError(split)

    def after(
        self, split: str, x: Tensor, current: Tensor | None = None, left: dict[str, Tensor] | None = None
    ) -> Tensor:
        """Run the layers after `split` and the head: the cloud's part ('' runs all of them).

        `current` is what the spikes x were fired from, where a stage's shortcut carries it. `left` is told what leaves
        each segment.
        """
        name, inner = place(split)
        passed = split == ""
        for here, segment in self.segments.items():
            if not passed:
                passed = here == name
                if not passed or inner is None:
                    continue
                x = cast(Stage, segment).after(inner, x, current)
            else:
                x = segment(x)
            if left is not None:
                left[here] = x
        return cast(Tensor, self.head(x))

    def halves(self, split: str) -> tuple[list[nn.Module], list[nn.Module]]:
        """The layers up to the split, behind the stem, and those behind it, up to the logits."""
        name, inner = place(split)
        names = list(self.segments)
        at = names.index(name)
        before, behind = [self.segments[one] for one in names[:at]], [self.segments[one] for one in names[at + 1 :]]
        segment = self.segments[name]
        first, second = ([segment], []) if inner is None else cast(Stage, segment).halves(inner)
        return [*before, *first], [*second, *behind, self.head]


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
        current = self._first(x)
        return self.after(1, self.sn2(current), current)

    def _first(self, x: Tensor) -> Tensor:
        """The membrane current at the end of the first block."""
        return cast(Tensor, self.conv2(self.sn1(self.conv1(x))) + self.skip(x))

    def until(self, inner: int, x: Tensor) -> Tensor:
        """The spikes of the first block."""
        return cast(Tensor, self.sn2(self._first(x)))

    def after(self, inner: int, spikes: Tensor, current: Tensor | None) -> Tensor:
        """The second block."""
        carried = current if self.shortcut == "membrane" else spikes
        return cast(Tensor, self.sn4(self.conv4(self.sn3(self.conv3(spikes))) + carried))

    def halves(self, inner: int) -> tuple[Sequence[nn.Module], Sequence[nn.Module]]:
        """The two blocks."""
        return (
            [self.conv1, self.sn1, self.conv2, self.skip, self.sn2],
            [self.conv3, self.sn3, self.conv4, self.sn4],
        )


class ConvStage(nn.Sequential):
    """Convolutions with a neuron each, then max pooling. `first` is the number of its first convolution."""

    def __init__(self, *modules: nn.Module, first: int) -> None:
        super().__init__(*modules)
        self.first = first

    def until(self, inner: int, x: Tensor) -> Tensor:
        """The spikes of a convolution's neuron."""
        return _through(self.halves(inner)[0], x)

    def after(self, inner: int, spikes: Tensor, current: Tensor | None) -> Tensor:
        """What follows on it, up to the pooling."""
        return _through(self.halves(inner)[1], spikes)

    def halves(self, inner: int) -> tuple[Sequence[nn.Module], Sequence[nn.Module]]:
        """A convolution and a neuron each up to the split; the others and the pooling."""
        count = 2 * (inner - self.first + 1)
        return list(self)[:count], list(self)[count:]


def _through(modules: Sequence[nn.Module], x: Tensor) -> Tensor:
    for module in modules:
        x = module(x)
    return x


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
        first = 2 if number == 1 else 1
        segments[f"stage{number}"] = ConvStage(*modules, layer.MaxPool2d(2, 2, step_mode="m"), first=first)
    return Backbone(conv_bn(in_channels, width, 3), segments, Head(inputs, classes))


def direct_code(current: Tensor, timesteps: int) -> Tensor:
    """Repeat the stem's output [N, C, H, W] over time [T, N, C, H, W] without copying it."""
    return current.unsqueeze(0).expand(timesteps, *current.shape)
