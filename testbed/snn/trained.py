"""A recipe's trained weights: where they lie, what they are known by, and how they come into its networks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from safetensors import SafetensorError, safe_open

from testbed.data.datasets import Dataset
from testbed.errors import ModelError
from testbed.runtime.digest import document_digest, file_digest
from testbed.snn.architecture import FULL
from testbed.snn.pair_spec import PairSpec
from testbed.snn.recipe import Recipe, lineage, load_recipe, recipe_digest

if TYPE_CHECKING:
    from torch import Tensor

    from testbed.snn.network import Network

CHECKPOINT = "checkpoint.safetensors"
"""The trained networks of a recipe, in its folder of training."""

NETWORKS = "networks"
"""Where a checkpoint's metadata say which networks it has."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint says of a network: hashes of what decided its weights (`recipe.lineage`), and of them."""

    lineage: str
    weights: str


def ship(networks: dict[str, Network], recipe: Recipe, target: Path, checkpoint: Path) -> None:
    """Put what was trained beside the recipe: whole, or packed where the name says so."""
    from testbed.snn import packed

    if target.suffix != packed.SUFFIX:
        target.write_bytes(checkpoint.read_bytes())
        return
    kept = {name: network for name, network in networks.items() if network.has_own_weights}
    packed.pack({name: packed.coarsened(network) for name, network in kept.items()}, recipe, target)


def teacher_of(recipe_path: Path, recipe: Recipe, models: Path, dataset: Dataset) -> Network | None:
    """The trained network of the recipe that this one learns from, if there is one.

    Raises:
        ModelError: it is not trained yet, or knows other classes or inputs.
    """
    if recipe.training.teacher is None:
        return None
    from testbed.snn.build import build

    path = Path(os.path.normpath(recipe_path.parent / recipe.training.teacher))
    teacher = load_recipe(path)
    if teacher.spiking or teacher.dataset != recipe.dataset:
        raise ModelError(f"{recipe_path}: {path} cannot teach it: a teacher is a relu network on the same data set")
    if not weights_of(path, teacher, models).exists():
        raise ModelError(f"{recipe_path}: its teacher is not trained yet; first: testbed train {path}")
    networks = build(teacher, dataset)
    read_weights(path, teacher, models, networks)
    return networks[FULL]


def weights_of(recipe_path: Path, recipe: Recipe, models: Path) -> Path:
    """Where a recipe's trained weights lie, or will lie."""
    if isinstance(recipe.backbone, PairSpec):
        return recipe.backbone.edge.path
    if recipe.weights is not None and not recipe.training.phases:
        return recipe.weights.path
    if recipe.checkpoint is not None:
        return Path(os.path.normpath(recipe_path.parent / recipe.checkpoint))
    return models / recipe.name / "training" / CHECKPOINT


def weights_digest(recipe_path: Path, recipe: Recipe, models: Path, variant: str | None = None) -> str | None:
    """What a variant's artefact is made from, or the uncut network's; None where it is not trained.

    That is `RECIPE-WEIGHTS` of a file that is whole, as those that ship. A training of one's own grows by one network
    after the other; there it is `LINEAGE-UNCUT-VARIANT`, so that what is trained later, or added to the recipe, changes
    nothing that was measured. Of a variant that is not trained its own lines in the recipe are the last part.

    Raises:
        ModelError: the file is damaged.
    """
    path = weights_of(recipe_path, recipe, models)
    if not path.exists():
        return None
    told = kept_in(path) if path.suffix == ".safetensors" and recipe.training.phases else None
    trained = variant is not None and recipe.trains(variant)
    if told is None:
        parts = [recipe_digest(recipe), file_digest(path)]
    else:
        known = lineage(recipe)
        own = [name for name in (FULL, variant if trained else None) if name is not None]
        if not all(name in told and told[name].lineage == known[name] for name in own):
            return None
        parts = [known[FULL], *(told[name].weights for name in own)]
    if variant is not None and not trained:
        parts.append(document_digest(recipe.variants[variant].model_dump(mode="json", exclude_unset=True)))
    return "-".join(part[:16] for part in parts)


def kept_in(path: Path) -> dict[str, Kept] | None:
    """The networks in a checkpoint, by name; None where the file does not say, as older ones.

    Raises:
        ModelError: the file is damaged.
    """
    try:
        with safe_open(path, "np") as file:
            told = (file.metadata() or {}).get(NETWORKS)
        return None if told is None else msgspec.json.decode(told, type=dict[str, Kept])
    except (OSError, SafetensorError, msgspec.MsgspecError) as error:
        raise ModelError(f"{path}: not the weights of this recipe: {str(error).splitlines()[0]}") from error


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of named weights, in hex."""
    digest = hashlib.sha256()
    for name, values in sorted(tensors.items()):
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.cpu().contiguous().numpy().data)
    return digest.hexdigest()


def same_backbone(left: str | None, right: str | None) -> bool:
    """Whether two digests of weights are of the same uncut network."""
    return left is not None and right is not None and left.split("-")[:2] == right.split("-")[:2]


def read_weights(recipe_path: Path, recipe: Recipe, models: Path, networks: dict[str, Network]) -> str:
    """Put trained weights into a recipe's untrained networks; returns the name of their file.

    Networks whose training has not come so far are taken out of `networks`.

    Raises:
        ModelError: they are not there, are damaged, or of another recipe.
    """
    from testbed.snn import packed
    from testbed.snn.checkpoint import load_checkpoint

    path = weights_of(recipe_path, recipe, models)
    if not path.exists():
        anew = "" if recipe.checkpoint is None else " --retrain"
        raise ModelError(f"{path}: no trained weights; testbed train {recipe_path}{anew} makes them")
    if not recipe.training.phases:  # the networks were built with them
        return path.name
    (packed.unpack if path.suffix == packed.SUFFIX else load_checkpoint)(networks, recipe, path)
    return path.name
