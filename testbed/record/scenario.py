"""How requests arrive: MLPerf's scenarios, under its names and with the one number that it draws from each.

The rules are MLPerf Inference's (`inference_rules.adoc`, Scenarios, in mlcommons/inference_policies). SingleStream: the
90th percentile of latency. Server: the highest rate of Poisson arrivals with 99% of the latencies within a bound.
Offline: samples per second. Latency counts from when a request was due, not from when it was begun.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

ScenarioKind: TypeAlias = Literal["single_stream", "server", "offline"]

MLPERF_NAMES: dict[str, str] = {"single_stream": "SingleStream", "server": "Server", "offline": "Offline"}
"""What MLPerf calls each."""

SINGLE_STREAM_PERCENT = 90
"""The percentile of latency that is SingleStream's number."""

SERVER_PERCENT = 99
"""Of the requests of a Server so many percent must be answered within the bound."""
