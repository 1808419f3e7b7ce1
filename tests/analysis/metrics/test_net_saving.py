"""Net energy stands beside gross where the idle board draws most of it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from scipy.stats import sem, t

from analysis.figures.choose import Query
from analysis.figures.drawing import draw
from analysis.headline import headlines
from analysis.headline_table import headline_table
from analysis.metrics import energy, energy_net_saving, energy_saving
from analysis.metrics.registry import measure, metrics
from analysis.report.results import results
from analysis.summary import write_summary
from analysis.tables import table
from tests.analysis.conftest import IDLE_MW

ASKED = [range(0, 20), range(10, 30), range(20, 40)]


def test_a_net_saving_is_of_what_both_draw_beyond_the_idle_board(make_cell) -> None:
    # Requests of 81 and of 21 ms in the mean, at 1000 and at 500 mW above idle.
    base = make_cell("base", "edge_only", baseline=True, latency_ms=80, busy_mw=IDLE_MW + 1000)
    found = measure([base, make_cell("co", latency_ms=20, busy_mw=IDLE_MW + 500)])[1]
    took = [sum(ms + i % 3 for i in range(40)) / 40 for ms in (80, 20)]
    assert found.get(energy_net_saving.METRIC).value == pytest.approx(100 * (1 - 500 * took[1] / (1000 * took[0])))
    assert found.get(energy_saving.METRIC).value == pytest.approx(100 * (1 - 5500 * took[1] / (6000 * took[0])))


def test_its_interval_is_paired_within_repeats(make_cell) -> None:
    base, co = measure(
        [
            make_cell("base", "edge_only", baseline=True, latency_ms=80, jitter_mw=200, asked=ASKED),
            make_cell("co", latency_ms=20, busy_mw=5700, jitter_mw=100, asked=ASKED),
        ]
    )
    net = [one.get(energy.METRIC).net_per_repeat_mj for one in (base, co)]
    each = [100 * (1 - net[1][repeat] / net[0][repeat]) for repeat in range(3)]
    saving = co.get(energy_net_saving.METRIC)
    spread = t.ppf(0.975, 2) * sem(each)
    # And a little at the windows' edges and for the baselines' drift.
    assert spread < saving.half == pytest.approx(spread, rel=0.1)
    assert base.get(energy_net_saving.METRIC).half == 0


def test_a_sensors_offset_and_gain_are_no_part_of_it(make_cell) -> None:
    limits = {"offset_mw": 100.0, "gain": 0.05}
    cells = [
        make_cell("base", "edge_only", baseline=True, busy_mw=20_000, emulated=False, limits=limits),
        make_cell("co", busy_mw=5500, emulated=False, limits=limits),
    ]
    co = measure(cells)[1]
    assert co.get(energy_saving.METRIC).half > 0.2
    assert co.get(energy_net_saving.METRIC).half < 0.02


def test_there_is_none_where_the_baseline_draws_nothing_beyond_the_idle_board(make_cell) -> None:
    base = make_cell("base", "edge_only", baseline=True, busy_mw=IDLE_MW)
    found = measure([base, make_cell("co", busy_mw=IDLE_MW + 100)])[1]
    assert found.get(energy_saving.METRIC) is not None
    assert found.get(energy_net_saving.METRIC) is None


@pytest.mark.parametrize(("busy_mw", "beside"), [(IDLE_MW + 1000, True), (4 * IDLE_MW, False)])
def test_tables_report_and_headline_show_net_where_gross_is_mostly_idle(make_cell, busy_mw: float, beside) -> None:
    measured = measure(
        [
            make_cell("base", "edge_only", baseline=True, latency_ms=80, busy_mw=busy_mw),
            make_cell("co", latency_ms=20, busy_mw=busy_mw),
        ]
    )
    headers, rows = table(measured)
    shown = {"mean net energy (emulated) [mJ]", "net saving (emulated) [%]"} & set(headers)
    assert len(shown) == 2 * beside
    assert all(row[headers.index(header)] for header in shown for row in rows)
    said = {column.header for column in results(measured, metrics()).columns if column.overview}
    # The overview has room for the saving alone; the energy is in its group.
    assert {"mean net energy (emulated) [mJ]", "net saving (emulated) [%]"} & said == shown & {
        "net saving (emulated) [%]"
    }
    quantities = [row[2] for row in headline_table(headlines(measured))[1]]
    assert ("edge energy saving, net of idle [%]" in quantities) == beside
    (figure,) = draw(measured, Query(only=["tradeoff"]))
    assert ("what the idle board draws" in figure.caption) == beside


def test_the_summary_has_it_whatever_the_idle_share(make_cell, tmp_path: Path) -> None:
    cells = [make_cell("base", "edge_only", baseline=True, busy_mw=20_000), make_cell("co", busy_mw=20_000)]
    with write_summary(tmp_path, measure(cells)).open() as file:
        for row in csv.DictReader(file):
            low, value, high = (float(row[f"energy_net_saving_pct{end}"]) for end in ("_lo", "", "_hi"))
            assert low <= value <= high
