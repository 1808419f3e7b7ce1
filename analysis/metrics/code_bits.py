"""Mean bits of the payload per code, and the zero-order entropy Σ H'W'·h(p) of the same codes.

p is the spike rate that each channel had on training data at that timestep. The entropy is of the timesteps as often
as they were sent, so an early exit changes both numbers alike. Codes of the test set may take less than it, or more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.alike import Alike
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Heading, Metric
from analysis.model import zero_order_bits
from analysis.texts import number


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
    keys = ["node", "repeat", "request_id"]
    requests = one.cell.requests[[*keys, "sample_index"]]
    codes = one.cell.timesteps[[*keys, "timestep", "payload_bytes"]]
    codes = codes[codes["payload_bytes"].notna()]
    if codes.empty:
        return None
    least = zero_order_bits(one.cell.manifest.model)
    codes = codes.assign(
        codes=1.0,
        bits=8.0 * codes["payload_bytes"],
        least=np.nan if least is None else codes["timestep"].map(dict(enumerate(least))),
    )
    sums = codes.groupby(keys, as_index=False)[["codes", "bits", "least"]].sum()
    sums = requests.merge(sums, on=keys)
    alike = Alike(sums)
    count = alike.mean(sums["codes"])
    return CodeBits(alike.mean(sums["bits"]) / count, None if least is None else alike.mean(sums["least"]) / count)


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
