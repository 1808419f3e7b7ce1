"""Bits of a code as they were sent, beside the least that independent spikes of the model's rates could take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from testbed.record.reader import Cell

Table = tuple[list[str], list[list[str]]]


@dataclass(frozen=True)
class CodeBits:
    """Mean bits per code over all codes that a cell sent.

    `entropy` is the zero-order entropy under the model's spike rates, of the timesteps as often as they were sent,
    so that an early exit changes both numbers alike; None where the model carries no rates. The rates are of
    training data: a code of the test set may well take less than the entropy, or more.
    """

    sent: float
    entropy: float | None


def code_bits(cell: Cell) -> CodeBits | None:
    """Bits per code of a cell, or None where no codes were sent.

    Raises:
        RecordError: its timesteps cannot be read.
    """
    if cell.manifest.sends != "code":
        return None
    rows = cell.timesteps
    rows = rows[rows["payload_bytes"].notna()]
    if rows.empty:
        return None
    least = zero_order_bits(msgspec.to_builtins(cell.manifest.model))
    entropy = None if least is None else float(rows["timestep"].map(dict(enumerate(least))).mean())
    return CodeBits(sent=8 * float(rows["payload_bytes"].mean()), entropy=entropy)


def zero_order_bits(model: Mapping[str, Any]) -> list[float] | None:
    """Bits per code at each timestep: sum over channels of H'·W'·h(p), h(p) = -p·log2(p) - (1-p)·log2(1-p).

    `model` is a model card; None where it has no `code_rates`. Shannon, "A mathematical theory of
    communication", 1948: no lossless code of independent elements takes fewer bits in the mean.
    """
    if model.get("code_rates") is None:
        return None
    area = math.prod(model["code_shape"][1:])
    return [area * sum(map(_binary_entropy, rates)) for rates in model["code_rates"]]


def describe_model(model: Mapping[str, Any]) -> tuple[Table, Table]:
    """A model card for people: what it is, and a row of numbers for each timestep."""
    shapes = {
        name: " x ".join(map(str, model[key]))
        for name, key in (("input", "input_shape"), ("features at the split", "feature_shape"), ("code", "code_shape"))
        if model.get(key)
    }
    facts = {
        "model": model["name"],
        "backbone": f"{model['backbone']}, width {model['width']}",
        "data set": f"{model['dataset']} ({model['dataset_variant']}), {len(model['classes'])} classes",
        "split": model.get("split") or "none",
        **shapes,
        "compression": f"{model['compression']:g}x" if model.get("compression") else "none",
        "hash": model["hash"],
    }
    return (["", ""], [[name, str(value)] for name, value in facts.items()]), _timesteps(model)


def _timesteps(model: Mapping[str, Any]) -> Table:
    headers = ["timestep"]
    columns: list[Sequence[str]] = [[str(t + 1) for t in range(model["timesteps"])]]
    for key, values in model["accuracy_per_timestep"].items():
        headers.append(f"accuracy of {key} [%]")
        columns.append([f"{100 * value:.2f}" for value in values])
    least = zero_order_bits(model)
    if least is not None:
        packed = -(-math.prod(model["code_shape"]) // 8)
        headers += ["spike rate [%]", "entropy [bit]", "entropy [B]", "packed [B]", "entropy of packed [%]"]
        columns.append([f"{100 * sum(rates) / len(rates):.2f}" for rates in model["code_rates"]])
        columns.append([f"{bits:.1f}" for bits in least])
        columns.append([f"{bits / 8:.1f}" for bits in least])
        columns.append([str(packed)] * len(least))
        columns.append([f"{100 * bits / 8 / packed:.1f}" for bits in least])
    return headers, [list(row) for row in zip(*columns, strict=True)]


def _binary_entropy(p: float) -> float:
    return sum(-q * math.log2(q) for q in (p, 1 - p) if q > 0)
