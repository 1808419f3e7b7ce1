"""What an experiments/train/*.yaml may say: a backbone, a data set, variants to export, and how to train them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from testbed.config import load_config
from testbed.data.datasets import DatasetSpec

Split = Literal["stem", "stage1", "stage2", "stage3", "stage4"]


class Strict(pydantic.BaseModel):
    """A block of the file: unknown keys are errors."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class BackboneSpec(Strict):
    """The network."""

    name: Literal["resnet18"] = "resnet18"
    width: int = pydantic.Field(64, ge=4, le=128, description="channels of the stem; 64 is the full network")
    tau: float = pydantic.Field(2.0, gt=1.0, description="membrane time constant of every LIF neuron, in timesteps")


class BottleneckSpec(Strict):
    """The code at the split: channels and spatial stride of the encoder."""

    channels: int = pydantic.Field(ge=1)
    stride: Literal[1, 2, 4, 8]


class VariantSpec(Strict):
    """One artefact to export: the backbone cut at a split, with or without a bottleneck."""

    split: Split
    bottleneck: BottleneckSpec | None = None


class PhaseSpec(Strict):
    """One phase of training, with a cosine schedule from `lr` to zero after a short warm-up.

    `backbone` trains the uncut network; `codec` trains each variant's bottleneck with the backbone
    frozen; `all` fine-tunes each variant whole, on its own copy of the backbone.
    """

    train: Literal["backbone", "codec", "all"]
    epochs: int = pydantic.Field(ge=1)
    lr: float = pydantic.Field(gt=0)
    timesteps: tuple[Annotated[int, pydantic.Field(ge=1)], ...] | None = pydantic.Field(
        None, description="T of each epoch, where early epochs run fewer than the recipe's T"
    )

    @pydantic.model_validator(mode="after")
    def _one_per_epoch(self) -> PhaseSpec:
        if self.timesteps is not None and len(self.timesteps) != self.epochs:
            raise ValueError(f"timesteps lists {len(self.timesteps)} epochs, epochs says {self.epochs}")
        return self


class TrainingSpec(Strict):
    """How the phases are run. AdamW; cross entropy at every timestep (TET, arXiv 2202.11946)."""

    phases: tuple[PhaseSpec, ...] = pydantic.Field(min_length=1)
    batch_size: int = pydantic.Field(128, ge=2)
    weight_decay: float = pydantic.Field(0.02, ge=0)
    crop_padding: int = pydantic.Field(4, ge=0, description="random crops out of images padded by so many pixels")
    flip: bool = pydantic.Field(True, description="random horizontal flips")
    seed: int = 0
    precision: Literal["bf16", "fp32"] = "bf16"


class Recipe(Strict):
    """A whole recipe file."""

    name: str = pydantic.Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    dataset: DatasetSpec
    backbone: BackboneSpec
    timesteps: int = pydantic.Field(4, ge=1, le=64)
    variants: dict[Annotated[str, pydantic.Field(pattern=r"^[a-z0-9][a-z0-9-]*$")], VariantSpec] = pydantic.Field(
        min_length=1
    )
    training: TrainingSpec
    checkpoint: Path | None = pydantic.Field(
        None, description="trained weights beside the recipe, used instead of training; --retrain ignores it"
    )


def load_recipe(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe file.

    Raises:
        ExperimentError: it says something a recipe may not say.
    """
    return load_config(path, Recipe, overrides)


def recipe_digest(recipe: Recipe) -> str:
    """What decides the trained weights: the recipe without the paths of data and checkpoint."""
    document = recipe.model_dump(mode="json", exclude={"checkpoint": True, "dataset": {"path"}})
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
