"""What is known of a backbone without building it: its split points and the shapes there. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

from testbed.data.size import Size, sides

Shortcut: TypeAlias = Literal["spike", "membrane"]
Surrogate: TypeAlias = Literal["atan", "sigmoid", "piecewise_quadratic"]

Weights: TypeAlias = Literal["float", "int8"]
"""Form of the weights that a network is exported with: on a fine grid in float32, or 8 bits for each."""

FULL = "full"
"""The name of the uncut network among the networks of a recipe, and of the artefact of one that is never cut."""

RESNET18_STAGES = (1, 2, 4, 8)
"""Channel multiples of the four stages of two basic blocks each (He et al. 2016, table 1)."""

VGG16_STAGES = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))
"""(Channel multiple, convolutions) of the five stages, each ending in 2x2 max pooling (arXiv 1409.1556, table 1, D)."""


def in_form(name: str, weights: Weights) -> str:
    """A network's name, with the form of its weights where that is not float."""
    return name if weights == "float" else f"{name}.{weights}"


def place(split: str) -> tuple[str, int | None]:
    """A split's segment, and the block or convolution that it lies behind where it lies within the segment."""
    segment, _, inner = split.partition(".")
    return segment, int(inner) if inner else None


def _inner(backbone: str, stage: int) -> Iterable[int]:
    """The splits within a stage: behind its first block, or behind each convolution (the stem is stage 1's first)."""
    if backbone == "resnet18":
        return (1,)
    return range(2 if stage == 1 else 1, VGG16_STAGES[stage - 1][1] + 1)


def _splits(backbone: str, stages: int) -> tuple[str, ...]:
    """The stem, then each stage after the splits within it."""
    names = ["stem"]
    for stage in range(1, stages + 1):
        names += [*(f"stage{stage}.{inner}" for inner in _inner(backbone, stage)), f"stage{stage}"]
    return tuple(names)


SPLITS: dict[str, tuple[str, ...]] = {
    "resnet18": _splits("resnet18", len(RESNET18_STAGES)),
    "vgg16": _splits("vgg16", len(VGG16_STAGES)),
}
"""Split points of each backbone, from the input to the output."""


def feature_shape(backbone: str, split: str, width: int, image_size: Size) -> tuple[int, int, int]:
    """Shape (C, H, W) of the spikes at a split for images of a size."""
    rows, columns = sides(image_size)
    if split == "stem":
        return width, rows, columns
    segment, inner = place(split)
    stage = int(segment.removeprefix("stage"))
    if backbone == "resnet18":
        for _ in range(stage - 1):
            rows, columns = (rows + 1) // 2, (columns + 1) // 2  # a 3x3 convolution with stride 2 and padding 1
        return width * RESNET18_STAGES[stage - 1], rows, columns
    for _ in range(stage if inner is None else stage - 1):  # a stage ends in its pooling
        rows, columns = rows // 2, columns // 2
    return width * VGG16_STAGES[stage - 1][0], rows, columns
