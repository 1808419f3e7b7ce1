"""Reading an experiment file: sweeps written out, paths resolved against the file's folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from testbed.config import load_config
from testbed.experiment.spec import Experiment, Nodes
from testbed.experiment.sweeps import expand


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment; the paths in it are resolved against the file's folder.

    Raises:
        ExperimentError: it says something an experiment may not say.
    """
    experiment = load_config(path, Experiment, overrides, expand)

    def resolve(other: Path) -> Path:
        return Path(os.path.normpath(path.parent / other))

    return experiment.model_copy(
        update={
            "models": {
                name: model.model_copy(update={"recipe": resolve(model.recipe)})
                for name, model in experiment.models.items()
            },
            "nodes": Nodes(edge=resolve(experiment.nodes.edge), cloud=resolve(experiment.nodes.cloud)),
        }
    )
