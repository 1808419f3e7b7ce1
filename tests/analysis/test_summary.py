from __future__ import annotations

import csv
from pathlib import Path

from analysis.metrics.registry import measure
from analysis.summary import write_summary

SUMMARY_COLUMNS = [
    "cell",
    "label",
    "mode",
    "accuracy",
    "accuracy_drop_points",
    "accuracy_drop_points_lo",
    "accuracy_drop_points_hi",
    "latency_p50_ms",
    "latency_p95_ms",
    "latency_p99_ms",
    "latency_speedup",
    "latency_speedup_lo",
    "latency_speedup_hi",
    "energy_mj",
    "energy_mj_ci95",
    "energy_net_mj",
    "energy_saving_pct",
    "energy_saving_pct_lo",
    "energy_saving_pct_hi",
    "energy_source",
    "cloud_energy_mj",
    "energy_op_count_mj",
    "compression",
    "payload_up_bytes",
    "wire_up_bytes",
    "reduction_vs_float32",
    "reduction_vs_packed",
    "mean_exit_timestep",
    "valid",
    "reasons",
]


def test_summary_has_exactly_the_agreed_columns(campaign, tmp_path: Path) -> None:
    path = write_summary(tmp_path, measure(campaign))
    assert path.read_text().splitlines()[0].split(",") == SUMMARY_COLUMNS


def test_summary_is_blank_and_not_zero_where_nothing_applies(campaign, tmp_path: Path) -> None:
    with write_summary(tmp_path, measure(campaign)).open() as file:
        edge, edge_exit, cloud, co, _, failed = csv.DictReader(file)
    assert {edge[c] for c in ("compression", "payload_up_bytes", "wire_up_bytes", "mean_exit_timestep")} == {""}
    assert edge["latency_speedup"] == "1"
    assert float(edge_exit["mean_exit_timestep"]) > 1
    assert cloud["payload_up_bytes"] == str(4 * 3072)
    assert cloud["reduction_vs_packed"] == cloud["compression"] == cloud["cloud_energy_mj"] == ""
    assert (co["compression"], co["energy_source"], co["valid"]) == ("512", "emulated", "true")
    assert float(co["energy_mj_ci95"]) > 0
    filled = {name: value for name, value in failed.items() if value}
    assert filled == {
        "cell": "lossy-link",
        "label": "lossy link",
        "mode": "co_inference",
        "reasons": "failed; server: went silent",
    }
