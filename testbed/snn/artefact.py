"""From a recipe to its artefacts on disk: trained here, or exported from the checkpoint that ships with the recipe."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.data.cache import locked
from testbed.data.datasets import Dataset, Samples, load
from testbed.errors import ExperimentError, ModelError, OutdatedModelError
from testbed.runtime.artefact import load_card
from testbed.runtime.digest import file_digest
from testbed.snn.recipe import Recipe, load_recipe, recipe_digest

if TYPE_CHECKING:
    from testbed.snn.epochs import Report
    from testbed.snn.network import Network
    from testbed.snn.processes import Hardware


def artefact_folder(models: Path, recipe: Recipe, variant: str) -> Path:
    """Where a recipe's variant is kept."""
    return models / recipe.name / variant


def ensure(recipe_path: Path, variant: str, models: Path, data: Path | None) -> Path:
    """The artefact of a recipe's variant: as it is, or exported anew from trained weights; it never trains.

    Raises:
        ModelError: there are no trained weights of this recipe.
        ExperimentError: the recipe has no such variant.
    """
    recipe = load_recipe(recipe_path)
    if variant not in recipe.variants:
        raise ExperimentError(f"{recipe_path}: no variant {variant!r}; there is {', '.join(recipe.variants) or 'none'}")
    folder = artefact_folder(models, recipe, variant)
    weights = _weights_digest(recipe_path, recipe, models)
    if folder.exists() and _exported_from(folder) == weights:
        return folder
    if weights is None:
        raise ModelError(
            f"{folder}: not trained yet; make it with: testbed train {recipe_path}"
            + ("" if recipe.dataset.name in ("digits", "digits_dvs") else " --data PATH")
        )
    with _exporting(models, recipe):
        if not folder.exists() or _exported_from(folder) != weights:  # else another process did it meanwhile
            _export(recipe_path, recipe, models, data)
    return folder


def _exported_from(folder: Path) -> Any:
    """The weights that an artefact was exported from; None where another version of the testbed wrote it."""
    try:
        return load_card(folder).trained.get("weights")
    except OutdatedModelError:
        return None


def export(recipe_path: Path, models: Path, data: Path | None) -> list[Path]:
    """Export every variant of a recipe from its trained weights."""
    recipe = load_recipe(recipe_path)
    with _exporting(models, recipe):
        return _export(recipe_path, recipe, models, data)


def _exporting(models: Path, recipe: Recipe) -> AbstractContextManager[None]:
    """Keep other processes from exporting the same recipe meanwhile."""
    folder = models / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    return locked(folder / ".export.lock")


def _export(recipe_path: Path, recipe: Recipe, models: Path, data: Path | None) -> list[Path]:
    from testbed.snn.build import build
    from testbed.snn.export import write_artefact

    dataset = load(recipe.dataset, data)
    networks = build(recipe, dataset)
    source = _read_weights(recipe_path, recipe, models, networks)
    trained = {"weights": _weights_digest(recipe_path, recipe, models), "from": source}
    folders = []
    for name, variant in recipe.variants.items():
        folder = artefact_folder(models, recipe, name)
        write_artefact(recipe, name, variant, networks, dataset, folder, trained)
        folders.append(folder)
    return folders


def to_validate(
    recipe_path: Path, variant: str, models: Path, data: Path | None
) -> tuple[dict[str, Network], Samples, str]:
    """What a variant is calibrated with: its deployable networks, the validation samples, the data set's name.

    The networks are `split` and `full` (the uncompressed backbone). No test sample is among what is returned.
    """
    dataset = load(load_recipe(recipe_path).dataset, data)
    networks = deployable_networks(recipe_path, models, dataset)
    chosen = {"split": networks[variant], "full": networks["full"]}
    return chosen, dataset.validation, f"{dataset.name} ({dataset.variant})"


def deployable_networks(recipe_path: Path, models: Path, dataset: Dataset) -> dict[str, Network]:
    """The trained networks of a recipe as they are exported: `full`, and one per variant.

    Raises:
        ModelError: there are no trained weights of this recipe.
    """
    from testbed.snn.build import build
    from testbed.snn.deployable import deployable

    recipe = load_recipe(recipe_path)
    networks = build(recipe, dataset)
    _read_weights(recipe_path, recipe, models, networks)
    return {name: deployable(network) for name, network in networks.items()}


def train(
    recipe_path: Path,
    models: Path,
    data: Path | None,
    report: Report,
    *,
    retrain: bool = False,
    hardware: Hardware | None = None,
    export_graphs: bool = True,
) -> list[Path]:
    """Train a recipe (unless its checkpoint ships with it) and export its variants.

    Training goes on from its last epoch if it was interrupted. `retrain` leaves the shipped checkpoint aside
    and begins anew; the training it replaces is kept beside it. Where several processes train together, the
    first of them exports and returns the folders. Without `export_graphs` nothing is exported: `ensure` does it when
    an experiment first asks for a variant.
    """
    recipe = load_recipe(recipe_path)
    folder = models / recipe.name / "training"
    if recipe.checkpoint is None or retrain:
        from testbed.snn.checkpoint import save_checkpoint
        from testbed.snn.processes import Hardware, is_first_process, together
        from testbed.snn.training import train as run

        # What has to be prepared is prepared once, and before anyone's patience with the others begins to run.
        dataset = load(recipe.dataset, data) if is_first_process() else None
        with together(hardware or Hardware()) as group:
            dataset = dataset or load(recipe.dataset, data)
            teacher = _teacher(recipe_path, recipe, models, dataset)
            networks = run(recipe, dataset, folder, report, group, anew=retrain, teacher=teacher)
        if not group.first:
            return []
        save_checkpoint(networks, recipe, folder / "checkpoint.safetensors")
        if recipe.checkpoint is not None:
            _ship(networks, recipe, recipe_path.parent / recipe.checkpoint, folder / "checkpoint.safetensors")
    return export(recipe_path, models, data) if export_graphs else []


def _ship(networks: dict[str, Network], recipe: Recipe, target: Path, checkpoint: Path) -> None:
    """Put what was trained beside the recipe: whole, or packed where the name says so."""
    from testbed.snn import packed

    if target.suffix != packed.SUFFIX:
        target.write_bytes(checkpoint.read_bytes())
        return
    kept = {name: net for name, net in networks.items() if name == "full" or net.bottleneck is not None}
    packed.pack({name: packed.coarsened(network) for name, network in kept.items()}, recipe, target)


def _teacher(recipe_path: Path, recipe: Recipe, models: Path, dataset: Dataset) -> Network | None:
    """The trained network of the recipe that this one learns from, if there is one.

    Raises:
        ModelError: it is not trained yet, or knows other classes or inputs.
    """
    if recipe.training.teacher is None:
        return None
    from testbed.snn.build import build

    path = Path(os.path.normpath(recipe_path.parent / recipe.training.teacher))
    teacher = load_recipe(path)
    if teacher.backbone.neuron != "relu" or teacher.dataset != recipe.dataset:
        raise ModelError(f"{recipe_path}: {path} cannot teach it: a teacher is a relu network on the same data set")
    if not weights_of(path, teacher, models).exists():
        raise ModelError(f"{recipe_path}: its teacher is not trained yet; first: testbed train {path}")
    networks = build(teacher, dataset)
    _read_weights(path, teacher, models, networks)
    return networks["full"]


def weights_of(recipe_path: Path, recipe: Recipe, models: Path) -> Path:
    """Where a recipe's trained weights lie, or will lie."""
    if recipe.checkpoint is not None:
        return Path(os.path.normpath(recipe_path.parent / recipe.checkpoint))
    return models / recipe.name / "training" / "checkpoint.safetensors"


def _weights_digest(recipe_path: Path, recipe: Recipe, models: Path) -> str | None:
    """What an artefact was made from: the recipe and the weights; None where there are no weights."""
    path = weights_of(recipe_path, recipe, models)
    return f"{recipe_digest(recipe)[:16]}-{file_digest(path)[:16]}" if path.exists() else None


def _read_weights(recipe_path: Path, recipe: Recipe, models: Path, networks: dict[str, Network]) -> str:
    from testbed.snn import packed
    from testbed.snn.checkpoint import load_checkpoint

    path = weights_of(recipe_path, recipe, models)
    if not path.exists():
        raise ModelError(f"{path}: no trained weights; testbed train {recipe_path} --retrain makes them")
    (packed.unpack if path.suffix == packed.SUFFIX else load_checkpoint)(networks, recipe, path)
    return path.name
