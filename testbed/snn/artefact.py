"""From a recipe to its artefacts on disk: trained here, or exported from the checkpoint that ships with the recipe."""

from __future__ import annotations

import math
from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from testbed.data.cache import locked
from testbed.data.datasets import NEEDS_NO_FILES, Dataset, Samples, load
from testbed.errors import ExperimentError, ModelError, OutdatedModelError
from testbed.record.log import make_folder
from testbed.runtime.artefact import load_card
from testbed.snn.architecture import FULL, Weights, in_form
from testbed.snn.keptanswers import KeptAnswers, Report, unheard
from testbed.snn.network_spec import BackboneSpec
from testbed.snn.pair_spec import PairSpec
from testbed.snn.recipe import Recipe, load_recipe, recipe_digest
from testbed.snn.trained import (
    CHECKPOINT,
    read_weights,
    same_backbone,
    ship,
    teacher_of,
    weights_digest,
    weights_of,
)

if TYPE_CHECKING:
    from testbed.snn.budget import Budget
    from testbed.snn.epochs import Report as Trained
    from testbed.snn.network import Network
    from testbed.snn.pair import Graphs
    from testbed.snn.processes import Hardware


Standing: TypeAlias = Literal["ready", "to export", "to train"]


def artefact_folder(models: Path, recipe: Recipe, variant: str | None, weights: Weights = "float") -> Path:
    """Where a recipe's variant is kept, in one form of its weights; or its one network, which has no variant."""
    return models / recipe.name / in_form(variant or FULL, weights)


def kept_answers(recipe_path: Path, models: Path, report: Report = unheard) -> KeptAnswers:
    """What keeps the answers of a recipe's trained networks.

    Raises:
        ModelError: there are no trained weights of this recipe.
    """
    recipe = load_recipe(recipe_path)
    trained = weights_digest(recipe_path, recipe, models)
    if trained is None:
        raise ModelError(f"{weights_of(recipe_path, recipe, models)}: no trained weights of {recipe_path}")
    return KeptAnswers(models / recipe.name / "outputs", trained, report)


def check_variant(recipe_path: Path, recipe: Recipe, variant: str | None, weights: Weights = "float") -> None:
    """Refuse a variant that a recipe does not have, and a form of weights that its network cannot have.

    Raises:
        ExperimentError: it has none of that name, or not in that form; or none is named and it has some.
    """
    if not recipe.spiking:
        if variant is not None:
            raise ExperimentError(
                f"{recipe_path}: a relu network is not cut, so it has no variant {variant!r}; leave `variant` out"
            )
        return
    if variant not in recipe.variants:
        said = "name a variant" if variant is None else f"no variant {variant!r}"
        raise ExperimentError(f"{recipe_path}: {said}; there is {', '.join(recipe.variants)}")
    if weights == "float":
        return
    if not isinstance(recipe.backbone, BackboneSpec):
        raise ExperimentError(f"{recipe_path}: weights: int8 is for resnet18 and vgg16, not for a network of one's own")
    if not math.log2(recipe.backbone.tau).is_integer():
        raise ExperimentError(
            f"{recipe_path}: weights: int8 takes a tau that is a power of two, not {recipe.backbone.tau:g}: "
            "the leak would round, and spikes would depend on the processor"
        )


def standing(recipe_path: Path, variant: str | None, models: Path, weights: Weights = "float") -> tuple[Path, Standing]:
    """Where the artefact of a recipe's variant lies, or will lie, and what is still to be done for it."""
    recipe = load_recipe(recipe_path)
    check_variant(recipe_path, recipe, variant, weights)
    folder = artefact_folder(models, recipe, variant, weights)
    trained = weights_digest(recipe_path, recipe, models, variant)
    if folder.exists() and _exported_from(folder) == trained:
        return folder, "ready"
    return folder, "to train" if trained is None else "to export"


def ensure(recipe_path: Path, variant: str | None, models: Path, data: Path | None, weights: Weights = "float") -> Path:
    """The artefact of a recipe's variant: as it is, or exported anew from trained weights; it never trains.

    Raises:
        ModelError: there are no trained weights of this recipe.
        ExperimentError: the recipe has no such variant.
    """
    folder, what = standing(recipe_path, variant, models, weights)
    recipe = load_recipe(recipe_path)
    if what == "to train":
        raise ModelError(
            f"{folder}: not trained yet; make it with: testbed train {recipe_path}"
            + ("" if recipe.dataset.name in NEEDS_NO_FILES else " --data PATH")
        )
    if what == "to export":
        with _exporting(models, recipe):
            if standing(recipe_path, variant, models, weights)[1] != "ready":  # else another process did it meanwhile
                _export(recipe_path, recipe, models, data, [variant] if variant else [], weights)
    return folder


def _exported_from(folder: Path) -> Any:
    """The weights that an artefact was exported from; None where another version of the testbed wrote it."""
    try:
        return load_card(folder).trained.get("weights")
    except OutdatedModelError:
        return None


def export(recipe_path: Path, models: Path, data: Path | None) -> list[Path]:
    """Export every variant of a recipe that is trained, or its one network that is never cut."""
    recipe = load_recipe(recipe_path)
    with _exporting(models, recipe):
        return _export(recipe_path, recipe, models, data, trained_variants(recipe_path, models))


def trained_variants(recipe_path: Path, models: Path) -> list[str]:
    """The variants of a recipe whose weights are there, in its order.

    Raises:
        ModelError: the file of the weights is damaged.
    """
    recipe = load_recipe(recipe_path)
    return [name for name in recipe.variants if weights_digest(recipe_path, recipe, models, name) is not None]


def _exporting(models: Path, recipe: Recipe) -> AbstractContextManager[None]:
    """Keep other processes from exporting the same recipe meanwhile.

    Raises:
        DiskError: there is no place for it.
    """
    return locked(make_folder(models / recipe.name) / ".export.lock")


def _export(
    recipe_path: Path,
    recipe: Recipe,
    models: Path,
    data: Path | None,
    variants: Collection[str],
    weights: Weights = "float",
) -> list[Path]:
    from testbed.snn.ann import write_ann
    from testbed.snn.build import build
    from testbed.snn.export import write_artefact

    dataset = load(recipe.dataset, data)
    digests = {name: weights_digest(recipe_path, recipe, models, name) for name in (None, *variants)}
    uncut = digests[None]
    if isinstance(recipe.backbone, PairSpec):
        return [_write_pair(recipe, recipe.backbone, models, dataset, name, digests[name]) for name in variants]
    networks = build(recipe, dataset)
    source = read_weights(recipe_path, recipe, models, networks)
    trained = {name: {"weights": digest, "from": source} for name, digest in digests.items()}
    if not recipe.spiking:
        folder = artefact_folder(models, recipe, None, weights)
        write_ann(recipe, networks[FULL], dataset, folder, trained[None], weights)
        return [folder]
    others = (artefact_folder(models, recipe, name, weights) for name in recipe.variants)
    like = next((other for other in others if other.exists() and same_backbone(_exported_from(other), uncut)), None)
    folders = []
    for name in variants:
        folder = artefact_folder(models, recipe, name, weights)
        write_artefact(
            recipe, name, recipe.variants[name], networks, dataset, folder, trained[name], like, weights=weights
        )
        folders.append(like := folder)
    return folders


def _write_pair(
    recipe: Recipe, pair: PairSpec, models: Path, dataset: Dataset, variant: str, digest: str | None
) -> Path:
    from testbed.snn.pair import write_pair

    folder = artefact_folder(models, recipe, variant)
    trained = {"recipe": recipe_digest(recipe), "weights": digest, "from": "graphs made elsewhere"}
    write_pair(pair, f"{recipe.name}/{variant}", recipe.timesteps, dataset, folder, trained)
    return folder


def to_validate(
    recipe_path: Path, variant: str, models: Path, data: Path | None, weights: Weights = "float"
) -> tuple[dict[str, Network | Graphs], Samples, str]:
    """What a variant is calibrated with: its deployed networks, the validation samples, the data set's name.

    The networks are `split` and `full` (the uncompressed backbone). No test sample is among what is returned.
    """
    recipe = load_recipe(recipe_path)
    dataset = load(recipe.dataset, data)
    chosen: dict[str, Network | Graphs]
    if isinstance(recipe.backbone, PairSpec):
        from testbed.snn.pair import Graphs

        folder = artefact_folder(models, recipe, variant)
        chosen = {name: Graphs(folder, recipe.timesteps, cut=name == "split") for name in ("split", "full")}
    else:
        networks = deployed_networks(recipe_path, models, dataset, weights, {variant, "full"})
        chosen = {"split": networks[variant], "full": networks["full"]}
    return chosen, dataset.validation, f"{dataset.name} ({dataset.variant})"


def deployed_networks(
    recipe_path: Path, models: Path, dataset: Dataset, weights: Weights = "float", names: Collection[str] | None = None
) -> dict[str, Network]:
    """The trained networks of a recipe as they are exported: `full`, and one per variant, or those of these names.

    Raises:
        ModelError: there are no trained weights of this recipe.
    """
    from testbed.snn.build import build
    from testbed.snn.deployable import deployed

    recipe = load_recipe(recipe_path)
    networks = build(recipe, dataset)
    read_weights(recipe_path, recipe, models, networks)
    return {
        name: deployed(network, weights, dataset.train, recipe.timesteps)
        for name, network in networks.items()
        if names is None or name in names
    }


def train(
    recipe_path: Path,
    models: Path,
    data: Path | None,
    report: Trained,
    *,
    retrain: bool = False,
    hardware: Hardware | None = None,
    export_graphs: bool = True,
    budget: Budget | None = None,
) -> list[Path]:
    """Train a recipe (unless its weights ship with it) and export its variants.

    Training goes on from its last epoch if it was interrupted. `retrain` leaves the shipped checkpoint aside, and
    begins anew where a training is finished, which is kept beside it. Where several processes train together, the
    first of them exports and returns the folders. Without `export_graphs` nothing is exported: `ensure` does it when
    an experiment first asks for a variant.

    Raises:
        OutOfTimeError: the budget is spent; nothing is exported then.
        TestbedError: the recipe, the data or the hardware do not allow it.
    """
    recipe = load_recipe(recipe_path)
    folder = make_folder(models / recipe.name) / "training"
    if recipe.training.phases and (recipe.checkpoint is None or retrain):
        from testbed.snn.processes import Hardware, is_first_process, together
        from testbed.snn.training import train as run

        # What has to be prepared is prepared once, and before anyone's patience with the others begins to run.
        dataset = load(recipe.dataset, data) if is_first_process() else None
        with together(hardware or Hardware()) as group:
            dataset = dataset or load(recipe.dataset, data)
            teacher = teacher_of(recipe_path, recipe, models, dataset)
            networks = run(recipe, dataset, folder, report, group, anew=retrain, teacher=teacher, budget=budget)
        if not group.first:
            return []
        if recipe.checkpoint is not None:
            ship(networks, recipe, recipe_path.parent / recipe.checkpoint, folder / CHECKPOINT)
    return export(recipe_path, models, data) if export_graphs else []
