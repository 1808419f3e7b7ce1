"""Share of right answers over all requests; one that timed out or failed counts as wrong.

Each repeat counts alike, and in it each sample: right / passes of a sample, the mean over samples, the mean over
repeats. Its 95% interval is Wilson's over the distinct samples, for drawing other samples of the data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from analysis.alike import PerSample
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Column, Heading, Line, Metric
from analysis.stats import wilson
from analysis.texts import number


@dataclass(frozen=True)
class Accuracy:
    """Share of right answers, a fraction, and the 95% interval for drawing other samples.

    `per_sample` has each sample's share in each repeat.
    """

    fraction: float
    low: float
    high: float
    samples: int
    not_ok: int
    per_repeat: Mapping[int, float]
    per_sample: PerSample


def accuracy(one: Measured) -> Accuracy:
    """Right answers over all requests."""
    rows = one.cell.requests
    ok = (rows["outcome"] == "ok").to_numpy()
    right = ok & (rows["prediction"] == rows["label"]).to_numpy(dtype=bool, na_value=False)
    alike = one.alike
    fraction = alike.mean(right)
    samples = int(rows["sample_index"].nunique())
    low, high = wilson(fraction, samples)
    return Accuracy(fraction, low, high, samples, int((~ok).sum()), alike.per_repeat(right), alike.per_sample(right))


def _details(found: Accuracy) -> list[Line]:
    low, high = 100 * found.low, 100 * found.high
    text = f"{100 * found.fraction:.2f}% ({low:.1f} to {high:.1f}% over {found.samples} distinct samples)"
    return [("accuracy", text + (f"; {found.not_ok} requests not answered" if found.not_ok else ""))]


METRIC = Metric(
    name="accuracy",
    term="accuracy",
    doc=__doc__,
    of=accuracy,
    columns=(
        Column("accuracy", "fraction", lambda found: found.fraction),
        Column("accuracy_lo", "fraction", lambda found: found.low),
        Column("accuracy_hi", "fraction", lambda found: found.high),
        Column("accuracy_samples", "samples", lambda found: found.samples),
    ),
    headings=(Heading("accuracy [%]", lambda found: number(100 * found.fraction, 2)),),
    details=_details,
)
