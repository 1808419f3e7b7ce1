"""What trained recipes reach on the test set, without nodes: accuracy, exits and bytes of every variant, as a table.

The networks are the deployable ones, which give the spikes of the exported step graphs bit for bit; every code is
really encoded. Exit thresholds come from validation samples (`testbed.snn.calibrate`). Nothing here is a latency or an
energy: those are measured by `testbed run`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from testbed.data.datasets import Dataset, Samples, load
from testbed.errors import ModelError
from testbed.modes.co_inference import CoInference
from testbed.modes.edge_only import EdgeOnly
from testbed.runtime.artefact import ModelCard, load_card
from testbed.snn import artefact
from testbed.snn.answers import Answers, Ints
from testbed.snn.architecture import FULL, Weights, in_form
from testbed.snn.calibrate import Settings, calibrate
from testbed.snn.evaluation import Row, trained_minutes
from testbed.snn.network_spec import VariantSpec
from testbed.snn.outputs import CODECS, Outputs, Report, unheard
from testbed.snn.pair_spec import PairSpec
from testbed.snn.recipe import Recipe, family_digest, load_recipe, recipe_digest
from testbed.snn.thresholds import paired_drop

if TYPE_CHECKING:
    from testbed.snn.network import Network


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

    With several forms of the weights, one after the other; every drop is against the backbone in float.

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
    dataset = load(recipe.dataset, data)
    minutes = trained_minutes(models / recipe.name / "training" / "training.csv")
    if not recipe.spiking:
        return _ann_rows(recipe_path, models, data, forms, dataset, minutes)
    full = artefact.deployed_networks(recipe_path, models, dataset, names={FULL})[FULL]
    outputs = artefact.outputs(recipe_path, models, report)
    backbone = _whole(outputs, full, dataset.test, recipe.timesteps, "float")
    rows = []
    for weights in forms:
        rows += _rows(recipe_path, models, data, drop, weights, dataset, minutes, backbone, outputs, exits)
    return rows


def _whole(outputs: Outputs, full: Network, test: Samples, timesteps: int, weights: Weights) -> Answers:
    return Answers(outputs.of(in_form(FULL, weights), full, test, timesteps)[0], test.labels)


def _ann_rows(
    recipe_path: Path,
    models: Path,
    data: Path | None,
    forms: Sequence[Weights],
    dataset: Dataset,
    minutes: float | None,
) -> list[Row]:
    """What the exported graphs of a network without spikes answer, after its one step."""
    from testbed.snn import ann

    recipe, test = load_recipe(recipe_path), dataset.test
    wanted: dict[Weights, None] = dict.fromkeys(("float", *forms))
    folders = {weights: artefact.ensure(recipe_path, None, models, data, weights) for weights in wanted}
    answers = {
        weights: Answers(ann.logits(folder / ann.GRAPH, test)[None], test.labels) for weights, folder in folders.items()
    }
    return [
        _row(recipe, load_card(folders[each]), minutes, answers["float"], answers[each], None, EdgeOnly.facts.name)
        for each in forms
    ]


def _rows(
    recipe_path: Path,
    models: Path,
    data: Path | None,
    drop: float,
    weights: Weights,
    dataset: Dataset,
    minutes: float | None,
    backbone: Answers,
    outputs: Outputs,
    exits: Sequence[float],
) -> list[Row]:
    from testbed.snn.share import shares  # with torch, as is everything that runs a network

    recipe, test = load_recipe(recipe_path), dataset.test
    variants = artefact.trained_variants(recipe_path, models)
    if not variants:
        raise ModelError(f"{recipe_path}: none of its variants is trained yet; testbed train {recipe_path} goes on")
    cards = {name: load_card(artefact.ensure(recipe_path, name, models, data, weights)) for name in variants}
    networks = artefact.deployed_networks(recipe_path, models, dataset, weights)

    def thresholds(variant: str, network: str) -> tuple[float | None, ...]:
        if exits:
            return None, *exits
        settings = Settings(
            network="full" if network == "full" else "split",
            drop=drop,
            policy="max_softmax",
            accumulate="mean",
            per_timestep=False,
        )
        return None, calibrate(recipe_path, variant, models, data, settings, weights, outputs.report).thresholds[0]

    whole = backbone
    if weights != "float":
        whole = _whole(outputs, networks[FULL], test, recipe.timesteps, weights)
    first, edge_shares = variants[0], shares(recipe).variants
    rows = [
        _row(recipe, cards[first], minutes, backbone, whole, alpha, EdgeOnly.facts.name)
        for alpha in thresholds(first, "full")
    ]
    for name, card in cards.items():
        logits, payloads = outputs.of(in_form(name, weights), networks[name], test, recipe.timesteps, card)
        answers = Answers(logits, test.labels)
        alphas = thresholds(name, "split")
        for codec in CODECS:
            rows += [
                _row(
                    recipe,
                    card,
                    minutes,
                    backbone,
                    answers,
                    each,
                    CoInference.facts.name,
                    name,
                    codec,
                    payloads[codec],
                    edge_shares[name],
                )
                for each in alphas
            ]
    return rows


def _cut(variant: VariantSpec) -> str:
    return f"{variant.split}, from pixels" if variant.from_pixels else variant.split


def _row(
    recipe: Recipe,
    card: ModelCard,
    minutes: float | None,
    backbone: Answers,
    answers: Answers,
    threshold: float | None,
    mode: str,
    variant: str = "",
    codec: str = "",
    payloads: Ints | None = None,
    edge_share: float = 1.0,
) -> Row:
    exits = answers.exits(threshold)
    right = answers.answered(exits)
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
        mode=mode,
        variant=variant,
        kind=recipe.variants[variant].kind if variant else "uncut",
        split=_cut(recipe.variants[variant]) if variant else "",
        code="x".join(map(str, card.code_shape or [])) if variant else "",
        compression=card.compression if variant else None,
        edge_share=edge_share,
        codec=codec,
        exit_threshold=threshold,
        samples=len(right),
        accuracy=float(right.mean()),
        accuracy_per_timestep=" ".join(f"{value:.4f}" for value in answers.right.mean(axis=1)),
        drop_points=drop.points,
        drop_low=drop.low,
        drop_high=drop.high,
        exit_drop_points=None if threshold is None else paired_drop(answers.right[-1], right).points,
        mean_exit_timestep=float(exits.mean()),
        payload_bytes=sent,
        reduction_vs_float32=FLOAT_BYTES * elements / sent if sent else None,
        reduction_vs_packed=elements / 8 / sent if sent else None,
        trained_minutes=minutes,
    )
