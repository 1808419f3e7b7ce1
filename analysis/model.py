"""What a model artefact is, for people: its shapes, and for each timestep its accuracy and the entropy of its code."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.texts import Table
from testbed.record.documents import ModelCard


def zero_order_bits(model: ModelCard) -> list[float] | None:
    """Bits per code at each timestep: sum over channels of H'·W'·h(p), h(p) = -p·log2(p) - (1-p)·log2(1-p).

    None where the model has no `code_rates`. Shannon, "A mathematical theory of communication", 1948: no lossless
    code of independent elements takes fewer bits in the mean.
    """
    if model.code_rates is None or model.code_shape is None:
        return None
    area = math.prod(model.code_shape[1:])
    return [area * sum(map(_binary_entropy, rates)) for rates in model.code_rates]


def describe_model(model: ModelCard) -> tuple[Table, Table]:
    """A model card for people: what it is, and a row of numbers for each timestep."""
    shapes = {
        name: " x ".join(map(str, shape))
        for name, shape in (
            ("input", model.input_shape),
            ("features at the split", model.feature_shape),
            ("code", model.code_shape),
        )
        if shape
    }
    facts = {
        "model": model.name,
        "backbone": model.network,
        "weights": model.weights,
        "data set": f"{model.dataset} ({model.dataset_variant}), {len(model.classes)} classes",
        "split": model.split or "none",
        **shapes,
        "compression": f"{model.compression:g}x" if model.compression else "none",
        "hash": model.hash,
    }
    return (["", ""], [[name, value] for name, value in facts.items()]), _timesteps(model)


def _timesteps(model: ModelCard) -> Table:
    headers = ["timestep"]
    columns: list[Sequence[str]] = [[str(t + 1) for t in range(model.timesteps)]]
    for key, values in model.accuracy_per_timestep.items():
        headers.append(f"accuracy of {key} [%]")
        columns.append([f"{100 * value:.2f}" for value in values])
    least = zero_order_bits(model)
    if least is not None and model.code_rates is not None and model.code_shape is not None:
        packed = -(-math.prod(model.code_shape) // 8)
        headers += ["spike rate [%]", "entropy [bit]", "entropy [B]", "packed [B]", "entropy of packed [%]"]
        columns.append([f"{100 * sum(rates) / len(rates):.2f}" for rates in model.code_rates])
        columns.append([f"{bits:.1f}" for bits in least])
        columns.append([f"{bits / 8:.1f}" for bits in least])
        columns.append([str(packed)] * len(least))
        columns.append([f"{100 * bits / 8 / packed:.1f}" for bits in least])
    return headers, [list(row) for row in zip(*columns, strict=True)]


def _binary_entropy(p: float) -> float:
    return sum(-q * math.log2(q) for q in (p, 1 - p) if q > 0)
