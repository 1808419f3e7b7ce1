"""All T timesteps of features at the split, as float32 or as one bit each, over the bytes really sent.

T·C·H·W · 4 bytes, or / 8, over the mean payload per request that the cloud answered, or over the mean bytes on the
wire. So early exits and entropy coding count. Wire bytes have headers, ZMTP and TCP/IP in them, the features have not.
The 95% intervals are Student's over the repeats' own reductions. Blank where no features are sent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from analysis.alike import Alike
from analysis.fallback import fell_back
from analysis.metrics.comparison import Compared, around
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Column, Heading, Line, Metric
from analysis.stats import over_repeats
from analysis.texts import plus_minus, times
from testbed.errors import RecordError

FLOAT_BYTES, PACKED_BYTES = 4.0, 1 / 8


@dataclass(frozen=True)
class Reduction:
    """How many times fewer bytes are sent than features would take, as payload and on the wire.

    The wire's are None where no counters of it are left.
    """

    payload_vs_float32: Compared
    payload_vs_packed: Compared
    wire_vs_float32: Compared | None
    wire_vs_packed: Compared | None


def reduction(one: Measured) -> Reduction | None:
    """All reductions of a cell that sends codes.

    Raises:
        RecordError: its model does not say which features it has.
    """
    manifest = one.cell.manifest
    if manifest.sends != "code":
        return None
    rows = one.answered[~fell_back(one.cell, one.answered)]
    if rows.empty or not rows["payload_up_bytes"].any():
        return None
    if manifest.model.feature_shape is None:
        raise RecordError(f"{one.cell.folder}: its model does not say feature_shape")
    elements = manifest.model.timesteps * math.prod(manifest.model.feature_shape)
    known = rows[rows["wire_up_bytes"].notna()]
    return Reduction(
        _over(rows, "payload_up_bytes", elements * FLOAT_BYTES),
        _over(rows, "payload_up_bytes", elements * PACKED_BYTES),
        None if known.empty else _over(known, "wire_up_bytes", elements * FLOAT_BYTES),
        None if known.empty else _over(known, "wire_up_bytes", elements * PACKED_BYTES),
    )


def _over(rows: pd.DataFrame, sent: str, features_bytes: float) -> Compared:
    alike, values = Alike(rows), rows[sent].to_numpy(dtype=float)
    per_repeat = [features_bytes / each for each in alike.per_repeat(values).values() if each > 0]
    return around(features_bytes / alike.mean(values), over_repeats(per_repeat).half, none=1.0)


def _details(found: Reduction) -> list[Line]:
    lines = []
    for name, vs32, packed in (
        ("payload", found.payload_vs_float32, found.payload_vs_packed),
        ("wire", found.wire_vs_float32, found.wire_vs_packed),
    ):
        if vs32 is not None and packed is not None:
            texts = [f"{plus_minus(each.value, each.half)}×" for each in (vs32, packed)]
            lines.append((f"reduction, {name}", f"{texts[0]} against float32 features, {texts[1]} against packed"))
    return lines


def _columns(name: str, of: str) -> tuple[Column[Reduction], ...]:
    def ends(found: Reduction, which: str) -> float | None:
        compared: Compared | None = getattr(found, of)
        return None if compared is None else getattr(compared, which)

    return (
        Column(name, "×", lambda found: ends(found, "value")),
        Column(f"{name}_lo", "×", lambda found: ends(found, "low")),
        Column(f"{name}_hi", "×", lambda found: ends(found, "high")),
    )


def _heading(header: str, of: str) -> Heading[Reduction]:
    def text(found: Reduction) -> str:
        compared: Compared | None = getattr(found, of)
        return times(None if compared is None else compared.value)

    return Heading(header, text)


METRIC = Metric(
    name="reduction",
    term="payload and wire vs float32, vs packed",
    doc=__doc__,
    of=reduction,
    columns=(
        *_columns("reduction_vs_float32", "payload_vs_float32"),
        *_columns("reduction_vs_packed", "payload_vs_packed"),
        *_columns("reduction_wire_vs_float32", "wire_vs_float32"),
        *_columns("reduction_wire_vs_packed", "wire_vs_packed"),
    ),
    headings=(
        _heading("payload vs float32", "payload_vs_float32"),
        _heading("payload vs packed", "payload_vs_packed"),
        _heading("wire vs float32", "wire_vs_float32"),
        _heading("wire vs packed", "wire_vs_packed"),
    ),
    details=_details,
)
