"""The number that MLPerf Inference draws from a cell's scenario, and what it is.

SingleStream: the 90th percentile of latency. Server: the rate of Poisson arrivals, target_qps, if 99% of all requests
were answered within the bound (`deadline_ms`). Else, and without a bound, there is none. MLPerf's result is the highest
such rate, here of the cells that a sweep has. Offline: samples per second. So MLPerf's rules have them
(inference_rules.adoc, Scenarios). It is no MLPerf result: these have its models, its lengths, numbers of requests and
early stopping, and are reviewed. The interval (95%, half-width) is that of the percentile or the throughput.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis.metrics import latency, throughput
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Column, Heading, Metric
from analysis.stats import Interval
from analysis.texts import plus_minus
from testbed.record.scenario import MLPERF_NAMES, SERVER_PERCENT, SINGLE_STREAM_PERCENT


@dataclass(frozen=True)
class MlperfNumber:
    """A scenario's number.

    Attributes:
        what: what it is, in MLPerf's words and with its unit.
        text: it, as the tables say it.
        value: it; None where a server has no bound or did not keep it.
        within: the share of all requests that were answered within the bound, None where there is none.
    """

    what: str
    text: str
    value: Interval | None
    within: float | None = None


def mlperf(one: Measured) -> MlperfNumber | None:
    """The number of a cell's scenario."""
    scenario = one.cell.manifest.config.scenario
    name = MLPERF_NAMES[scenario.kind]
    if scenario.kind == "offline":
        rate = one.get(throughput.METRIC)
        return None if rate is None else MlperfNumber(f"{name}: samples/s", f"{_said(rate.qps)} samples/s", rate.qps)
    if scenario.kind == "single_stream":
        took = one.get(latency.METRIC)
        if took is None:
            return None
        tail = Interval(took.p90_ms, took.p90.half)
        what = f"{name}: {SINGLE_STREAM_PERCENT}th percentile of latency [ms]"
        return MlperfNumber(what, f"p{SINGLE_STREAM_PERCENT} {_said(tail)} ms", tail)
    bound = "a bound" if scenario.deadline_ms is None else f"{scenario.deadline_ms} ms"
    what = f"{name}: target_qps with {SERVER_PERCENT}% within {bound} [1/s]"
    if scenario.deadline_ms is None or scenario.target_qps is None:
        return MlperfNumber(what, "no bound", None)
    within = float((one.cell.requests["outcome"] == "ok").mean())
    kept = within >= SERVER_PERCENT / 100
    text = f"{scenario.target_qps:g}/s" if kept else "not met"
    value = Interval(scenario.target_qps, None) if kept else None
    return MlperfNumber(what, f"{text}, {100 * within:.1f}% in time", value, within)


def _said(found: Interval) -> str:
    return plus_minus(found.mean, found.half)


METRIC = Metric(
    name="mlperf",
    term="MLPerf",
    doc=__doc__,
    of=mlperf,
    needs=(latency.METRIC, throughput.METRIC),
    columns=(
        Column("mlperf_metric", "", lambda found: found.what),
        Column("mlperf_value", "", lambda found: found.value.mean if found.value else None),
        Column("mlperf_value_ci95", "", lambda found: found.value.half if found.value else None),
        Column("within_bound", "fraction", lambda found: found.within),
    ),
    headings=(Heading("as in MLPerf", lambda found: found.text),),
    details=lambda found: [("as in MLPerf", f"{found.what}: {found.text}")],
)
