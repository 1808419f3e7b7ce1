"""The evaluation bundle of a data set: every test sample, made once and deployed to the edge."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from testbed.data.cache import locked
from testbed.data.datasets import load, source_digest
from testbed.record.log import make_folder
from testbed.runtime.bundle import Bundle, load_bundle, write_bundle
from testbed.runtime.digest import document_digest
from testbed.snn.recipe import Recipe, load_recipe

KEY_DIGITS = 10


def bundle_folder(recipe_path: Path, folder: Path, data: Path | None) -> Path:
    """Where the bundle of a recipe's data set lies, or will lie.

    Raises:
        DataError: the data set is not there.
    """
    recipe = load_recipe(recipe_path)
    spec = recipe.dataset.model_dump(mode="json", exclude={"path"})
    source = document_digest([spec, source_digest(recipe.dataset, data)])[:KEY_DIGITS]
    return folder / f"{recipe.name}-{source}"


def evaluation_bundle(recipe_path: Path, folder: Path, data: Path | None) -> tuple[Path, Bundle]:
    """Every test sample of the recipe's data set, made now if it is not there.

    Raises:
        TestbedError: the data set is not there, or the bundle is damaged.
    """
    recipe, target = load_recipe(recipe_path), bundle_folder(recipe_path, folder, data)
    if not target.exists():
        with locked(make_folder(folder) / ".lock"):  # two campaigns may begin with the same data
            if not target.exists():
                _make(recipe, data, target)
    return target, load_bundle(target)


def _make(recipe: Recipe, data: Path | None, target: Path) -> None:
    dataset = load(recipe.dataset, data)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    write_bundle(
        part,
        dataset.test.images,
        dataset.test.labels,
        dataset=dataset.name,
        variant=dataset.variant,
        split="test",
        seed=recipe.dataset.seed,
        classes=list(dataset.classes),
    )
    part.rename(target)
