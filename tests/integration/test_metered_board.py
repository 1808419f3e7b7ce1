"""A whole run whose edge is a metered board: sysfs files that move, or a tegrastats that prints."""

import csv
from pathlib import Path

import pytest

from tests.fakes.sysfs import FakeTree, SimRail, triangle

TEGRASTATS = Path(__file__).parents[1] / "fakes" / "tegrastats"
# It moves by less than the test tolerates: a busy machine moves it late.
LOW_MW, HIGH_MW, PERIOD_S = 5900.0, 6100.0, 0.1
REQUESTS = 400


@pytest.fixture
def board(tmp_path):
    """An Orin Nano whose module draws 6 W in the mean, and whose processor's rail is a part of that."""
    tree = FakeTree(tmp_path / "board")
    tree.board("NVIDIA Jetson Orin Nano Developer Kit", "nvidia,p3768-0000+p3767-0005nvidia,tegra234")
    module = SimRail("VDD_IN", 5000, 5000, triangle(LOW_MW, HIGH_MW, PERIOD_S))
    part = SimRail("VDD_CPU_GPU_CV", 5000, 5000, triangle(1000.0, 2000.0, PERIOD_S))
    tree.hwmon("1-0040", 3, [module, part])
    tree.put("sys/class/thermal/thermal_zone0/type", "tj-thermal")
    tree.put("sys/class/thermal/thermal_zone0/temp", "41500")
    with tree.moving():
        yield tree
    tree.close()


def test_energy_of_a_metered_board_is_what_flowed_through_it(lab, board) -> None:
    power = [{"source": "ina", "rate_hz": 100}]
    edge = lab.device("orin", kind="jetson", root=str(board.root), power=power)
    experiment = lab.experiment(
        {"mode": "edge_only", "model": "plain"},
        edge=edge,
        repeats=2,
        idle_s=1.0,
        scenario={"requests": REQUESTS, "warmup": 2},
    )

    done = lab.run("run", experiment, "--results", lab.results)

    assert done.code == 0, done.text
    assert "emulated" not in done.out
    (cell,) = lab.cells()
    assert set(cell.power["scope"]) == {"module", "rail"}
    node = cell.manifest.role("edge")[0]
    assert node.profile.root == str(board.root)
    cooled = [node.repeats[repeat].cooling for repeat in ("0", "1")]
    assert [each.as_warm_as for each in cooled] == [{}, {"tj-thermal": 41.5}]
    assert not any(each.gave_up for each in cooled)
    assert [row.repeat for row in cell.events if row.event == "cooldown"] == [0, 1]
    with (lab.campaign / "summary.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["energy_source"] == "measured"
    mean_mw = (LOW_MW + HIGH_MW) / 2
    windows = [rows["t_end_ns"].max() - rows["t_start_ns"].min() for _, rows in cell.requests.groupby("repeat")]
    flowed_mj = sum(windows) / 1e9 * mean_mw / len(cell.requests)
    assert float(row["energy_mj"]) == pytest.approx(flowed_mj, rel=0.03)
    assert float(row["energy_mj_ci95"]) > 0.0025 * flowed_mj / 3**0.5  # at the least the chip's gain
    assert abs(float(row["energy_net_mj"])) < 0.1 * flowed_mj  # this board draws as much when it rests


def test_a_run_metered_by_tegrastats_lasts_as_long_as_that_needs(lab, tmp_path) -> None:
    power_mw = [4000 + 400 * abs(number - 5) for number in range(10)]  # one up and down, 5 W in the mean
    log = tmp_path / "tegrastats.log"
    log.write_text("".join(f"RAM 2274/6834MB (lfb 27x4MB) CPU [9%@1190,off] VDD_IN {mw}mW/0mW\n" for mw in power_mw))
    lab.environment |= {"FAKE_TEGRASTATS_LOG": str(log), "FAKE_TEGRASTATS_STEP_MS": "100"}
    power = [{"source": "tegrastats", "rate_hz": 20, "command": [str(TEGRASTATS)], "board": "Jetson Orin Nano"}]
    experiment = lab.experiment(
        {"mode": "edge_only", "model": "plain"}, edge=lab.device("orin", kind="jetson", power=power)
    )

    done = lab.run("run", experiment, "--results", lab.results)

    assert done.code == 0, done.text
    (cell,) = lab.cells()
    requests = cell.requests
    # Over how long it averages is not known, so a second is assumed; 20 readings then take 19 s.
    seconds = (requests["t_end_ns"].max() - requests["t_start_ns"].min()) / 1e9
    assert seconds > 19
    assert requests["request_id"].is_unique
    assert requests.groupby("sample_index").size().nunique() == 1
    with (lab.campaign / "summary.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["energy_source"] == "measured"
    assert float(row["energy_mj"]) == pytest.approx(5000 * seconds / len(requests), rel=0.02)
