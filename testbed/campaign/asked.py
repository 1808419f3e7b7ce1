"""What an experiment's file asks for, read and checked, before any model or data set is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from devices.base.errors import DeviceError
from devices.links.conditions import Link
from devices.profile import Profile, load_profile
from testbed.errors import ExperimentError
from testbed.experiment import CellSpec, Experiment, Unnamed, baselines, labels, links, load_experiment
from testbed.experiment.baselines import Compared
from testbed.experiment.replays import Replay, measured_once
from testbed.modes import facts_of
from testbed.orchestrator import Participant
from testbed.orchestrator.participants import participants
from testbed.record.layout import ExperimentFolder, ResultsFolder
from testbed.record.noderecord import Role
from testbed.snn.artefact import check_variant
from testbed.snn.recipe import Recipe, load_recipe


@dataclass(frozen=True)
class Asked:
    """An experiment with its cells written out; `specs`, `links` and `labels` have an entry for each of them.

    The first `added` cells are baselines that the experiment does not have and needs. `replays` are the exits that are
    not measured, with places in `specs`. `recipes` are by their files; they all share their data set. `compared` says
    whose edge alone each model's cells are compared with.
    """

    experiment: Experiment
    root: ResultsFolder
    nodes: list[Participant]
    recipes: dict[Path, Recipe]
    specs: list[CellSpec]
    links: list[Link | None]
    labels: list[str]
    added: int
    replays: list[Replay]
    compared: Compared

    @property
    def data_recipe(self) -> Path:
        """A recipe whose data set is that of all."""
        return next(iter(self.recipes))

    @property
    def folder(self) -> ExperimentFolder:
        """Where its results lie."""
        return self.root.experiment(self.experiment.name)


def read(
    path: Path, results: Path, *, overrides: tuple[str, ...] = (), edge: Path | None = None, cloud: Path | None = None
) -> Asked:
    """Read an experiment and the recipes, links and profiles that it names.

    Raises:
        ExperimentError: a file says something wrong.
    """
    experiment, replays = measured_once(load_experiment(path, overrides))
    nodes = _nodes(edge or experiment.nodes.edge, cloud or experiment.nodes.cloud)
    recipes = {model.recipe: load_recipe(model.recipe) for model in experiment.models.values()}
    for model in experiment.models.values():
        check_variant(model.recipe, recipes[model.recipe], model.variant, model.weights)
    if len({recipe.dataset for recipe in recipes.values()}) > 1:
        raise ExperimentError(f"{path}: the models of one experiment must share their data set")
    by = baselines.compared(experiment.models, recipes)
    for cell in experiment.cells:
        if not recipes[experiment.models[cell.model].recipe].spiking:
            _check_ann(path, cell, by[cell.model])
    specs = [*(added := baselines.missing(experiment, by)), *experiment.cells]
    choices = dict.fromkeys(spec.link for spec in specs if spec.link is not None)
    named = {choice: links.resolve(choice, path.parent) for choice in choices}
    linked = [None if spec.link is None else named[spec.link] for spec in specs]
    if any(link is not None for link in linked):
        _check_shaping(path, experiment, nodes)
    texts = _labels(experiment, recipes, specs, linked)
    replays = [replace(one, position=one.position + len(added)) for one in replays]
    return Asked(experiment, ResultsFolder(results), nodes, recipes, specs, linked, texts, len(added), replays, by)


def _check_ann(path: Path, cell: CellSpec, compared_with: str) -> None:
    """Refuse what a network without spikes and without time cannot do."""
    if facts_of(cell.mode).network == "split":
        raise ExperimentError(
            f"{path}: {cell.mode} sends spikes, and {cell.model} is a relu network, which has none; an ANN is measured "
            "edge_only or cloud_only"
        )
    if cell.exit is not None:
        raise ExperimentError(
            f"{path}: {cell.model} is a relu network of one timestep, so there is nothing to exit from"
        )
    if cell.again and compared_with != cell.model:
        raise ExperimentError(
            f"{path}: again: true is for the baseline alone, and {cell.model}, a relu network, is compared with "
            f"{compared_with}"
        )


def _labels(
    experiment: Experiment,
    recipes: Mapping[Path, Recipe],
    specs: Sequence[CellSpec],
    linked: Sequence[Link | None],
) -> list[str]:
    unnamed = []
    for spec, link in zip(specs, linked, strict=True):
        model = experiment.models[spec.model]
        recipe = recipes[model.recipe]
        name = None if link is None else link.name
        cut = None if model.variant is None else recipe.variants[model.variant]
        split, compression = ("", 0.0) if cut is None else (cut.split, recipe.compression(cut))
        unnamed.append(
            Unnamed(
                spec,
                recipe.backbone.name,
                split,
                compression,
                name,
                model.weights,
                spiking=recipe.spiking,
                from_pixels=cut is not None and cut.from_pixels,
            )
        )
    return labels(unnamed, experiment.profile)


def _check_shaping(path: Path, experiment: Experiment, nodes: list[Participant]) -> None:
    for cloud in (node for node in nodes if node.role == "cloud"):
        if experiment.shaping == "tc" and cloud.profile.on_loopback:
            raise ExperimentError(
                f"{path}: shaping: tc cannot shape loopback, and {cloud.id} has the address {cloud.profile.address}; "
                "use shaping: user, or set `address:` in its profile to where the edge reaches it"
            )


def _nodes(edge: Path, cloud: Path) -> list[Participant]:
    playing: list[tuple[Role, Profile]] = [("edge", _profile(edge)), ("cloud", _profile(cloud))]
    names = [profile.name for _, profile in playing]
    if names[0] == names[1]:
        raise ExperimentError(f"edge and cloud are both named {names[0]!r}; their rows could not be told apart")
    return participants(playing)


def _profile(path: Path) -> Profile:
    try:
        return load_profile(path)
    except DeviceError as error:
        raise ExperimentError(str(error)) from error
