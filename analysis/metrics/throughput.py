"""Answered requests per second: of a repeat, from its first arrival to its last end. Several edges add up.

Mean over repeats ± 95% interval (Student's). It is the result of `offline`, where all requests are there at once. A
server answers no more than arrive, and in `single_stream` the next request waits for the last one's answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis.metrics.measured import Measured
from analysis.metrics.metric import Column, Heading, Metric
from analysis.stats import Interval, over_repeats
from analysis.texts import plus_minus, plus_minus_or_why
from testbed.record.queue import throughput_qps
from testbed.record.scenario import ScenarioKind


@dataclass(frozen=True)
class Throughput:
    """Requests per second over the repeats, in which scenario."""

    qps: Interval
    scenario: ScenarioKind


def throughput(one: Measured) -> Throughput:
    """Requests per second."""
    per_repeat = throughput_qps(one.cell)
    return Throughput(over_repeats(list(per_repeat.values())), one.cell.manifest.config.scenario.kind)


METRIC = Metric(
    name="throughput",
    term="throughput",
    doc=__doc__,
    of=throughput,
    columns=(
        Column("throughput_qps", "1/s", lambda found: found.qps.mean),
        Column("throughput_qps_ci95", "1/s", lambda found: found.qps.half),
    ),
    headings=(
        Heading(
            "throughput [1/s]",
            lambda found: plus_minus(found.qps.mean, found.qps.half),
            only=lambda found: found.scenario != "single_stream",
        ),
    ),
    details=lambda found: [
        ("throughput", f"{plus_minus_or_why(found.qps.mean, found.qps.half)} answered requests per second")
    ],
)
