"""Reading an experiment file: its profile laid over it, sweeps written out, paths seen from the file's folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from testbed.config import MOST_NAME, load_config
from testbed.errors import ExperimentError
from testbed.experiment.cell import CellSpec, ModelRef
from testbed.experiment.profiles import lay_over
from testbed.experiment.spec import TIMESTEPS_OF, Experiment, Nodes
from testbed.experiment.sweeps import expand
from testbed.snn.recipe import load_recipe


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment; the paths in it are resolved against the file's folder, but for those of links.

    `models` has those alone that its cells name, each with the variant that they mean: of a cell that names another
    variant than its model has, `model` becomes `MODEL/VARIANT`.

    Raises:
        ExperimentError: it says something an experiment may not say.
    """

    def resolve(other: Path) -> Path:
        return Path(os.path.normpath(path.parent / other))

    def timesteps_of(model: ModelRef) -> int:
        return load_recipe(resolve(model.recipe)).timesteps

    experiment = load_config(path, Experiment, overrides, expand, lay_over, {TIMESTEPS_OF: timesteps_of})
    models: dict[str, ModelRef] = {}
    cells = []
    for cell in (cell.over(experiment.link, experiment.models, experiment.scenario) for cell in experiment.cells):
        name = _model(cell, experiment)
        given = experiment.models[cell.model]
        variant = cell.variant or given.variant
        models[name] = ModelRef(recipe=resolve(given.recipe), variant=variant, weights=given.weights)
        cells.append(cell.model_copy(update={"model": name}))
    return experiment.model_copy(
        update={
            **_named(path, experiment),
            "models": models,
            "cells": tuple(cells),
            "nodes": Nodes(edge=resolve(experiment.nodes.edge), cloud=resolve(experiment.nodes.cloud)),
        }
    )


def _model(cell: CellSpec, experiment: Experiment) -> str:
    usual = experiment.models[cell.model].variant
    return cell.model if cell.variant in (None, usual) else f"{cell.model}/{cell.variant}"


def _named(path: Path, experiment: Experiment) -> dict[str, str]:
    """Name and title of an experiment in a profile: other results than the whole one's, and called so."""
    if experiment.profile is None:
        return {}
    name = f"{experiment.name}-{experiment.profile}"
    if len(name) > MOST_NAME:
        raise ExperimentError(f"{path}: the name {name} is longer than {MOST_NAME}; shorten it, or the profile's")
    return {"name": name, "title": f"{experiment.title or experiment.name} [{experiment.profile}]"}
