"""What a recipe may say of its training: phases, optimiser, augmentation, teacher."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from testbed.config import MOST_SEED, Strict

MOST_EPOCHS = 10_000


class DistillSpec(Strict):
    """Distillation (Hinton et al. 2015, arXiv 1503.02531): a variant learns the trained backbone's softened answers."""

    weight: float = pydantic.Field(1.0, gt=0, le=1e6)
    temperature: float = pydantic.Field(2.0, gt=0, le=1000)


class SpikeRateSpec(Strict):
    """Regulariser weight · max(0, mean spike rate of the code − target): fewer spikes take fewer bits."""

    weight: float = pydantic.Field(gt=0, le=1e6)
    target: float = pydantic.Field(0.0, ge=0, lt=1)


class EntropySpec(Strict):
    """Regulariser weight · max(0, b − target), b being the code's bits per element as the `entropy` codec counts them.

    b is the mean of −p·log2 p − (1−p)·log2(1−p) over timesteps and channels, p being the channel's spike rate.
    """

    weight: float = pydantic.Field(gt=0, le=1e6)
    target: float = pydantic.Field(0.0, ge=0, lt=1, description="bits per element below which nothing is gained")


class MatchSpec(Strict):
    """Regulariser weight · mean square of the firing rates' distance from those of the trained backbone.

    The rates are those of each neuron over the timesteps, behind the split.
    """

    weight: float = pydantic.Field(gt=0, le=1e6)
    segments: tuple[str, ...] = pydantic.Field(
        (), description="whose output is matched, where they end behind the split; default: all that do"
    )


def _one_by_one(values: object) -> object:
    """`[3x1, 4]` (three epochs at 1, then one at 4) to (1, 1, 1, 4)."""
    if not isinstance(values, list | tuple):
        return values
    listed: list[object] = []
    for value in values:
        run = re.fullmatch(r"([1-9]\d{0,4})x(\d{1,4})", value) if isinstance(value, str) else None
        listed += [value] if run is None else [int(run[2])] * int(run[1])
        if len(listed) > MOST_EPOCHS:
            raise ValueError(f"expected at most {MOST_EPOCHS} epochs")
    return tuple(listed)


PerEpoch = Annotated[tuple[Annotated[int, pydantic.Field(ge=1, le=256)], ...], pydantic.BeforeValidator(_one_by_one)]
"""A value for each epoch of a phase, in order; `30x1` in the list is thirty epochs at 1."""


class PhaseSpec(Strict):
    """One phase of training, with a cosine schedule from `lr` to zero after a short warm-up.

    `backbone` trains the uncut network; `codec` trains each variant's bottleneck with the backbone
    frozen; `all` fine-tunes each variant whole, on its own copy of the backbone.
    """

    train: Literal["backbone", "codec", "all"]
    epochs: int = pydantic.Field(ge=1, le=MOST_EPOCHS)
    lr: float = pydantic.Field(gt=0, le=100)
    frozen: tuple[str, ...] = pydantic.Field(
        (), description="segments of the backbone that an `all` phase leaves as they are, such as [stage4]"
    )
    timesteps: PerEpoch | None = pydantic.Field(
        None, description="T of each epoch, where early epochs run fewer than the recipe's T"
    )
    crops: PerEpoch | None = pydantic.Field(
        None, description="side of the crop that each epoch trains on, where early epochs see less than the image"
    )
    distill: DistillSpec | None = None
    spike_rate: SpikeRateSpec | None = None
    entropy: EntropySpec | None = None
    match: MatchSpec | None = None

    @pydantic.model_validator(mode="after")
    def _one_per_epoch(self) -> PhaseSpec:
        for name, values in (("timesteps", self.timesteps), ("crops", self.crops)):
            if values is not None and len(values) != self.epochs:
                raise ValueError(f"{name} lists {len(values)} epochs, epochs says {self.epochs}")
        for name in ("spike_rate", "entropy", "match"):
            if self.train == "backbone" and getattr(self, name) is not None:
                raise ValueError(f"{name} is for variants with a bottleneck, not for the backbone")
        if self.train != "all" and self.frozen:
            raise ValueError(f"frozen is for phases that train all, not {self.train}")
        return self


class SgdSpec(Strict):
    """Stochastic gradient descent with Nesterov's momentum, in place of AdamW."""

    name: Literal["sgd"]
    momentum: float = pydantic.Field(0.9, ge=0, lt=1)


class TrainingSpec(Strict):
    """How the phases are run: cross entropy at every timestep (TET, arXiv 2202.11946) with AdamW, or what is said."""

    phases: tuple[PhaseSpec, ...] = pydantic.Field((), max_length=100)
    batch_size: int = pydantic.Field(128, ge=2, le=65_536, description="over all devices together")
    optimizer: SgdSpec | None = pydantic.Field(None, description="default: AdamW")
    weight_decay: float = pydantic.Field(0.02, ge=0, le=10)
    gradient_clip: float = pydantic.Field(1.0, gt=0, le=1e6, description="largest norm of all gradients together")
    label_smoothing: float = pydantic.Field(0.0, ge=0, lt=1)
    teacher: Path | None = pydantic.Field(
        None, description="another recipe, trained before, whose network answers where a phase distils"
    )
    crop_padding: int = pydantic.Field(
        4, ge=0, le=256, description="random crops out of inputs padded by so many pixels"
    )
    flip: bool = pydantic.Field(True, description="random horizontal flips")
    cutout: int = pydantic.Field(
        0,
        ge=0,
        le=256,
        description="a square is blanked that reaches half so many pixels each way from its centre: 8 blanks 9x9 "
        "(DeVries and Taylor 2017, arXiv 1708.04552)",
    )
    seed: int = pydantic.Field(0, ge=0, le=MOST_SEED)
    precision: Literal["bf16", "fp16", "fp32"] | None = pydantic.Field(
        None, description="default: bf16, and fp32 on a CPU without AVX-512, where bf16 takes many times as long"
    )
    fused: bool = pydantic.Field(
        False, description="compile the LIF loop: faster from some minutes of training on, needs a C++ compiler"
    )
