"""What an export says of a model: one way to make its card, whatever the model is made of."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from testbed.data.datasets import Dataset
from testbed.runtime.artefact import ModelCard, OpCounts, write_card
from testbed.snn.architecture import Weights
from testbed.snn.graphwork import graph_works
from testbed.snn.network_spec import BackboneSpec
from testbed.snn.own_spec import OwnSpec, Shape
from testbed.snn.pair_spec import PairSpec


@dataclass(frozen=True)
class Cut:
    """Where a network is cut: shapes [C, H, W] of the features there and of the code, and its spike rates [T][C']."""

    split: str
    feature: Shape
    code: Shape
    bottleneck: bool
    rates: list[list[float]]


def write_model_card(
    folder: Path,
    name: str,
    backbone: BackboneSpec | OwnSpec | PairSpec,
    dataset: Dataset,
    timesteps: int,
    accuracy: dict[str, list[float]],
    trained: dict[str, Any],
    cut: Cut | None = None,
    *,
    weights: Weights = "float",
    op_counts: OpCounts | None = None,
) -> ModelCard:
    """Write `model.yaml` beside the graphs of a model; returns the card.

    Args:
        folder: has the graphs, and whatever else the card is to have the hash of.
        name: of the model.
        backbone: what the recipe says of it.
        dataset: that it is for; one test sample gives the shape of its inputs.
        timesteps: T.
        accuracy: after each timestep, of the network that is cut and of the uncut one (`ModelCard`).
        trained: where its weights come from.
        cut: None for a network that is not cut.
        weights: their form.
        op_counts: where they were counted.

    Raises:
        ModelError: a graph asks what cannot be counted, or nothing was exported.
    """
    inputs, spiking = dataset.test.images, backbone.neuron == "lif"
    return write_card(
        folder,
        ModelCard(
            name=name,
            backbone=backbone.name,
            width=backbone.width,
            spiking=spiking,
            weights=weights,
            dataset=dataset.name,
            dataset_variant=dataset.variant,
            timesteps=timesteps,
            classes=list(dataset.classes),
            input_shape=list(inputs.shape[-3:]),
            static_input=dataset.static,
            # A spiking network sees a frame at each timestep.
            frames=None if spiking or dataset.static else inputs.shape[1],
            split=None if cut is None else cut.split,
            feature_shape=None if cut is None else list(cut.feature),
            code_shape=None if cut is None else list(cut.code),
            bottleneck=cut is not None and cut.bottleneck,
            compression=None if cut is None else 32 * prod(cut.feature) / prod(cut.code),
            accuracy_per_timestep=accuracy,
            code_rates=None if cut is None else cut.rates,
            op_counts=op_counts,
            graphs=graph_works(folder),
            trained=trained,
        ),
    )
