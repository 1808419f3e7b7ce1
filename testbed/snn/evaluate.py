"""What trained recipes reach on the test set, without nodes: accuracy, exits and bytes of every variant, as a table.

The networks are the deployable ones, which give the spikes of the exported step graphs bit for bit; every code is
really encoded. Exit thresholds come from validation samples (`testbed.snn.calibrate`). Nothing here is a latency or an
energy: those are measured by `testbed run`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from testbed.data.datasets import Dataset, load
from testbed.errors import ModelError
from testbed.modes.co_inference import CoInference
from testbed.modes.edge_only import EdgeOnly
from testbed.runtime.artefact import ModelCard, load_card
from testbed.snn import artefact
from testbed.snn.answers import Answers, Ints
from testbed.snn.architecture import FULL, Weights, in_form
from testbed.snn.calibrate import Settings, Which, calibrate
from testbed.snn.evaluation import Row, trained_minutes
from testbed.snn.keptanswers import CODECS, KeptAnswers, Report, unheard
from testbed.snn.network_spec import VariantSpec
from testbed.snn.pair_spec import PairSpec
from testbed.snn.recipe import Recipe, family_digest, load_recipe, recipe_digest
from testbed.snn.thresholds import paired_drop

FLOAT_BYTES = 4


def evaluate(
    recipe_path: Path,
    models: Path,
    data: Path | None,
    drop: float,
    forms: Sequence[Weights] = ("float",),
    report: Report = unheard,
    exits: Sequence[float] = (),
) -> list[Row]:
    """Rows of a trained recipe: the backbone, then each variant with each codec, each without and with an exit.

    With several forms of the weights, one after the other; every drop is against the backbone in float. A network
    without spikes answers once, so its rows are without an exit.

    Args:
        recipe_path: the recipe; its weights must be there.
        models: where artefacts are kept.
        data: where the data set lies.
        drop: points of accuracy that an exit may lose on the validation samples.
        forms: of the weights.
        report: told how far it is.
        exits: thresholds to take in place of one from validation samples.

    Raises:
        TestbedError: the weights or the data are missing.
    """
    recipe = load_recipe(recipe_path)
    if isinstance(recipe.backbone, PairSpec):
        raise ModelError(f"{recipe_path}: evaluate is for networks; testbed show says what a pair of graphs reaches")
    minutes = trained_minutes(models / recipe.name / "training" / "training.csv")
    asked = _Asked(recipe_path, recipe, models, data, load(recipe.dataset, data), minutes, drop, tuple(exits), report)
    return _spiking_rows(asked, forms) if recipe.spiking else _ann_rows(asked, forms)


@dataclass(frozen=True)
class _Asked:
    """What is asked of a recipe, and what of it is the same in all its rows."""

    path: Path
    recipe: Recipe
    models: Path
    data: Path | None
    dataset: Dataset
    minutes: float | None
    drop: float
    exits: tuple[float, ...]
    report: Report

    def exported(self, variant: str | None, weights: Weights) -> Path:
        """The folder of an exported variant, or of a network that has none."""
        return artefact.ensure(self.path, variant, self.models, self.data, weights)

    def thresholds(self, variant: str, network: Which, weights: Weights) -> tuple[float | None, ...]:
        """Of a network's rows: no exit, then what was asked for or is found on the validation samples."""
        if self.exits:
            return None, *self.exits
        settings = Settings(
            network=network, drop=self.drop, policy="max_softmax", accumulate="mean", per_timestep=False
        )
        found = calibrate(self.path, variant, self.models, self.data, settings, weights, self.report)
        return None, found.thresholds[0]


@dataclass(frozen=True)
class _Way:
    """A way to answer the test set: with the uncut network, or with a variant's halves and a codec between them.

    `payloads` [T, N] are bytes of codes. `edge_share` is the edge's, of a timestep's multiplications.
    """

    card: ModelCard
    answers: Answers
    variant: str = ""
    edge_share: float = 1.0
    codec: str = ""
    payloads: Ints | None = None


def _ann_rows(asked: _Asked, forms: Sequence[Weights]) -> list[Row]:
    """What the exported graphs of a network without spikes answer, after its one step."""
    from testbed.snn import ann

    test = asked.dataset.test
    wanted: dict[Weights, None] = dict.fromkeys(("float", *forms))
    ways = {}
    for weights in wanted:
        folder = asked.exported(None, weights)
        ways[weights] = _Way(load_card(folder), Answers(ann.logits(folder / ann.GRAPH, test)[None], test.labels))
    return [_row(asked, ways["float"].answers, ways[weights], None) for weights in forms]


def _spiking_rows(asked: _Asked, forms: Sequence[Weights]) -> list[Row]:
    kept = artefact.kept_answers(asked.path, asked.models, asked.report)
    full = artefact.deployed_networks(asked.path, asked.models, asked.dataset, names={FULL})[FULL]
    test = asked.dataset.test
    logits = kept.of(FULL, full, test, asked.recipe.timesteps)[0]
    return [row for weights in forms for row in _form_rows(asked, kept, logits, weights)]


def _form_rows(asked: _Asked, kept: KeptAnswers, uncut: NDArray[np.float32], weights: Weights) -> list[Row]:
    """Of one form of the weights; `uncut` are the uncut network's logits [T, N, K] in float."""
    from testbed.snn.share import shares  # with torch, as is everything that runs a network

    recipe, test = asked.recipe, asked.dataset.test
    variants = artefact.trained_variants(asked.path, asked.models)
    if not variants:
        raise ModelError(f"{asked.path}: none of its variants is trained yet; testbed train {asked.path} goes on")
    cards = {name: load_card(asked.exported(name, weights)) for name in variants}
    networks = artefact.deployed_networks(asked.path, asked.models, asked.dataset, weights)
    backbone = Answers(uncut, test.labels)
    if weights != "float":
        uncut = kept.of(in_form(FULL, weights), networks[FULL], test, recipe.timesteps)[0]
    first, edge_shares = variants[0], shares(recipe).variants
    whole = _Way(cards[first], Answers(uncut, test.labels))
    rows = [_row(asked, backbone, whole, each) for each in asked.thresholds(first, "full", weights)]
    for name, card in cards.items():
        title = in_form(name, weights)
        logits, payloads = kept.of(title, networks[name], test, recipe.timesteps, card, uncut)
        answers, alphas = Answers(logits, test.labels), asked.thresholds(name, "split", weights)
        for codec in CODECS:
            way = _Way(card, answers, name, edge_shares[name], codec, payloads[codec])
            rows += [_row(asked, backbone, way, each) for each in alphas]
    return rows


def _cut(variant: VariantSpec) -> str:
    return f"{variant.split}, from pixels" if variant.from_pixels else variant.split


def _row(asked: _Asked, backbone: Answers, way: _Way, threshold: float | None) -> Row:
    """The row of a way to answer with an exit (None: without); every drop is against `backbone`."""
    recipe, card, payloads = asked.recipe, way.card, way.payloads
    variant = recipe.variants[way.variant] if way.variant else None
    exits = way.answers.exits(threshold)
    right = way.answers.answered(exits)
    drop = paired_drop(backbone.right[-1], right)
    sent: float | None = None
    elements = 0
    if payloads is not None:
        before = np.concatenate([np.zeros((1, payloads.shape[1]), dtype=np.int64), payloads.cumsum(axis=0)])
        sent = float(before[exits, np.arange(len(exits))].mean())
        elements = recipe.timesteps * prod(card.feature_shape or [])
    return Row(
        recipe=recipe.name,
        recipe_digest=recipe_digest(recipe)[:16],
        family=family_digest(recipe)[:16],
        seed=recipe.training.seed,
        dataset=card.dataset,
        dataset_variant=card.dataset_variant,
        backbone=card.backbone,
        width=card.width,
        spiking=card.spiking,
        weights=card.weights,
        timesteps=recipe.timesteps,
        mode=(EdgeOnly if variant is None else CoInference).facts.name,
        variant=way.variant,
        kind="uncut" if variant is None else variant.kind,
        split="" if variant is None else _cut(variant),
        code="" if variant is None else "x".join(map(str, card.code_shape or [])),
        compression=None if variant is None else card.compression,
        edge_share=way.edge_share,
        codec=way.codec,
        exit_threshold=threshold,
        samples=len(right),
        accuracy=float(right.mean()),
        accuracy_per_timestep=" ".join(f"{value:.4f}" for value in way.answers.right.mean(axis=1)),
        drop_points=drop.points,
        drop_low=drop.low,
        drop_high=drop.high,
        exit_drop_points=None if threshold is None else paired_drop(way.answers.right[-1], right).points,
        mean_exit_timestep=float(exits.mean()),
        payload_bytes=sent,
        reduction_vs_float32=FLOAT_BYTES * elements / sent if sent else None,
        reduction_vs_packed=elements / 8 / sent if sent else None,
        trained_minutes=asked.minutes,
    )
