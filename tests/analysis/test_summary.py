from __future__ import annotations

import csv
from pathlib import Path

from analysis.factors import FACTORS
from analysis.metrics.registry import measure
from analysis.summary import write_summary

FACTOR_COLUMNS = [factor.name for factor in FACTORS]
METRIC_COLUMNS = [
    "accuracy",
    "accuracy_lo",
    "accuracy_hi",
    "accuracy_samples",
    "accuracy_drop_points",
    "accuracy_drop_points_lo",
    "accuracy_drop_points_hi",
    "latency_p50_ms",
    "latency_p50_ms_ci95",
    "latency_p90_ms",
    "latency_p90_ms_ci95",
    "latency_p95_ms",
    "latency_p99_ms",
    "latency_p99_ms_ci95",
    "latency_mean_ms",
    "latency_mean_ms_ci95",
    "latency_speedup",
    "latency_speedup_lo",
    "latency_speedup_hi",
    "throughput_qps",
    "throughput_qps_ci95",
    "offered_qps",
    "utilisation",
    "queue_mean_ms",
    "queue_share",
    "mlperf_metric",
    "mlperf_value",
    "mlperf_value_ci95",
    "within_bound",
    "energy_mj",
    "energy_mj_ci95",
    "energy_net_mj",
    "energy_net_mj_ci95",
    "energy_saving_pct",
    "energy_saving_pct_lo",
    "energy_saving_pct_hi",
    "energy_net_saving_pct",
    "energy_net_saving_pct_lo",
    "energy_net_saving_pct_hi",
    "energy_source",
    "edp_mj_ms",
    "edp_mj_ms_ci95",
    "cloud_energy_mj",
    "cloud_energy_mj_ci95",
    "cloud_energy_source",
    "energy_op_count_mj",
    "payload_up_bytes",
    "wire_up_bytes",
    "reduction_vs_float32",
    "reduction_vs_float32_lo",
    "reduction_vs_float32_hi",
    "reduction_vs_packed",
    "reduction_vs_packed_lo",
    "reduction_vs_packed_hi",
    "reduction_wire_vs_float32",
    "reduction_wire_vs_float32_lo",
    "reduction_wire_vs_float32_hi",
    "reduction_wire_vs_packed",
    "reduction_wire_vs_packed_lo",
    "reduction_wire_vs_packed_hi",
    "wasted_timesteps",
    "wasted_edge_ms",
    "wasted_cloud_ms",
    "wasted_up_bytes",
    "wasted_down_bytes",
    "mean_exit_timestep",
    "edge_share",
]


def test_summary_has_exactly_the_agreed_columns(campaign, tmp_path: Path) -> None:
    path = write_summary(tmp_path, measure(campaign))
    assert path.read_text().splitlines()[0].split(",") == [
        "cell",
        "label",
        *FACTOR_COLUMNS,
        *METRIC_COLUMNS,
        "compared_with",
        "valid",
        "reasons",
    ]


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
    filled = {name: value for name, value in failed.items() if value and name not in FACTOR_COLUMNS}
    assert filled == {
        "cell": "lossy-link",
        "label": "lossy link",
        "reasons": "failed; server: went silent",
    }


def test_a_row_says_what_its_cell_is_compared_with_and_whether_its_cloud_is_metered(campaign, tmp_path) -> None:
    with write_summary(tmp_path, measure(campaign)).open() as file:
        edge, _, _, co, _, failed = csv.DictReader(file)
    assert (edge["compared_with"], co["compared_with"], failed["compared_with"]) == (edge["cell"], edge["cell"], "")
    assert (co["cloud_energy_source"], edge["cloud_energy_source"]) == ("not metered", "")
