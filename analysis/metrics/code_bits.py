"""Mean bits of the payload per code, and the zero-order entropy Σ H'W'·h(p) of the same codes.

p is the spike rate that each channel had on training data at that timestep. The entropy is of the timesteps as often
as they were sent, so an early exit changes both numbers alike. Codes of the test set may take less than it, or more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.alike import Alike
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Heading, Metric
from analysis.model import zero_order_bits
from analysis.texts import number

_KEYS = ("node", "repeat", "request_id")


@dataclass(frozen=True)
class CodeBits:
    """Mean bits per code over all codes that a cell sent; `entropy` is None where the model carries no rates."""

    sent: float
    entropy: float | None


def code_bits(one: Measured) -> CodeBits | None:
    """Bits per code of a cell, or None where no codes were sent.

    Raises:
        RecordError: its timesteps cannot be read.
    """
    if one.cell.manifest.sends != "code":
        return None
    requests, codes = one.cell.requests, one.cell.columns("timesteps", *_KEYS, "timestep", "payload_bytes")
    codes = codes[codes["payload_bytes"].notna()]
    if codes.empty:
        return None
    owner = _owner(requests, codes)
    counts = np.bincount(owner, minlength=len(requests))
    sent, alike = counts > 0, Alike(requests[counts > 0])

    def mean(values: NDArray[np.float64]) -> float:
        return alike.mean(np.bincount(owner, values, len(requests))[sent]) / alike.mean(counts[sent])

    bits = mean(8 * codes["payload_bytes"].to_numpy(np.float64))
    least = zero_order_bits(one.cell.manifest.model)
    return CodeBits(bits, None if least is None else mean(np.asarray(least)[codes["timestep"].to_numpy(np.int64)]))


def _owner(requests: pd.DataFrame, codes: pd.DataFrame) -> NDArray[np.int64]:
    """The request that each code was sent for, by its place among the requests."""
    nodes = pd.Index(requests["node"].unique())
    spans = [1 + int(requests[key].max()) for key in ("repeat", "request_id")]

    def numbers(rows: pd.DataFrame) -> NDArray[np.int64]:
        repeat, request = rows["repeat"].to_numpy(np.int64), rows["request_id"].to_numpy(np.int64)
        node = nodes.get_indexer(rows["node"]) if len(nodes) > 1 else 0
        return np.asarray((node * spans[0] + repeat) * spans[1] + request, dtype=np.int64)

    keys = numbers(requests)
    order = np.argsort(keys)
    return order[np.searchsorted(keys, numbers(codes), sorter=order)]


METRIC = Metric(
    name="code_bits",
    term="code, entropy",
    doc=__doc__,
    of=code_bits,
    headings=(
        Heading("code [bit]", lambda found: number(found.sent, 1), only=lambda _: True),
        Heading("entropy [bit]", lambda found: number(found.entropy, 1), only=lambda _: True),
    ),
)
