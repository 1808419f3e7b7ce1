from __future__ import annotations

import csv
import dataclasses
import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from analysis.figures import drawing
from analysis.figures.drawing import draw, save
from analysis.metrics import accuracy
from analysis.metrics.registry import METRICS, measure
from analysis.publish import publish
from analysis.summary import write_summary
from analysis.tables import table, write_tables
from testbed.errors import RecordError

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


def test_emulated_energy_says_so_in_the_header(campaign) -> None:
    headers, rows = table(measure(campaign))
    assert "energy (emulated) [mJ]" in headers
    assert not any("measured" in header for header in headers)
    assert all(len(row) == len(headers) for row in rows)
    assert " ± " in rows[0][headers.index("energy (emulated) [mJ]")]


def test_emulated_and_measured_energies_have_a_column_each(make_cell) -> None:
    headers, rows = table(measure([make_cell("model"), make_cell("sensor", emulated=False)]))
    emulated, measured = (headers.index(f"energy ({kind}) [mJ]") for kind in ("emulated", "measured"))
    assert [bool(row[emulated]) for row in rows] == [True, False]
    assert [bool(row[measured]) for row in rows] == [False, True]


def test_paper_tables_escape_what_latex_and_markdown_would_read(make_cell, tmp_path: Path) -> None:
    markdown, latex, *_ = write_tables(tmp_path, measure([make_cell("50% | a_b & c")]))
    assert "50% \\| a\\_b & c" in markdown.read_text()
    tex = latex.read_text()
    assert r"50\% | a\_b \& c" in tex
    assert r"accuracy [\%]" in tex
    assert "±" not in tex
    assert tex.index(r"\toprule") < tex.index(r"\midrule") < tex.index(r"\bottomrule")


def test_the_parts_of_each_interval_have_a_table_for_each_kind_of_energy(make_cell, tmp_path: Path) -> None:
    cells = [
        make_cell("sensor", emulated=False, jitter_mw=30, cloud_mw=90_000, limits={"gain": 0.01, "offset_mw": 50.0}),
        make_cell("model", jitter_mw=30),
        make_cell("one repeat", jitter_mw=30, repeats=1),
    ]
    paths = {path.name: path.read_text().splitlines() for path in write_tables(tmp_path, measure(cells))}
    assert set(paths) == {
        f"{name}.{kind}" for name in ("summary", "energy-measured", "energy-emulated") for kind in ("md", "tex")
    }
    headers, _, gross, net, cloud = (
        [text.strip() for text in line.split("|")[1:-1]] for line in paths["energy-measured.md"]
    )
    assert headers[2:] == [
        "energy (measured) [mJ]",
        *(f"± {part}" for part in ("gain", "offset", "LSB", "edges", "drift", "repeats")),
    ]
    assert [row[:2] for row in (gross, net, cloud)] == [
        ["sensor", "edge, gross"],
        ["sensor", "edge, net"],
        ["sensor", "cloud, gross"],
    ]
    half = float(gross[2].split("±")[1])
    parts = [float(text) for text in gross[3:] if text]
    assert sum(part**2 for part in parts) ** 0.5 == pytest.approx(half, rel=0.05)
    assert gross[3] != "0.000"
    assert (gross[7], net[4]) == ("", "")  # no drift in gross energy, no offset in net
    alone = next(line for line in paths["energy-emulated.md"] if line.startswith("| one repeat"))
    assert "±" not in alone


def test_every_figure_is_written_as_png_and_pdf(campaign, tmp_path: Path) -> None:
    paths = save(tmp_path, draw(measure(campaign)))
    names = {f"{name}.{kind}" for name in ("tradeoff", "stages", "power", "exits") for kind in ("png", "pdf")}
    assert {path.name for path in paths} == names
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG" if path.suffix == ".png" else b"%PDF")


def test_a_failed_and_an_invalid_cell_are_refused_by_figures_and_named(make_cell) -> None:
    cells = [
        make_cell("good"),
        make_cell("throttled", valid=False, reasons=["throttled for 3 s"]),
        make_cell("dead", state="failed"),
    ]
    for one in draw(measure(cells)):
        assert "Left out: throttled (invalid), dead (failed)." in one.caption
    for one in draw(measure(cells), include_invalid=True):
        assert "Left out: dead (failed)." in one.caption


def test_figures_of_nothing_valid_are_an_error(make_cell) -> None:
    with pytest.raises(RecordError, match=r"no figure can be drawn.*dead \(failed\)"):
        draw(measure([make_cell("dead", state="failed")]))


def test_power_is_left_out_where_nothing_was_metered(make_cell, caplog: pytest.LogCaptureFixture) -> None:
    names = [one.name for one in draw(measure([make_cell("bare", metered=False)]))]
    assert names == ["tradeoff", "stages", "exits"]
    assert "power: no cell has power samples" in caplog.text


def drawn_figures(cells, monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """The figures before they are written."""
    found: dict[str, Figure] = {}
    finish = drawing.finished

    def spy(name, figure, caption, note):
        found[name] = figure
        return finish(name, figure, caption, note)

    monkeypatch.setattr(drawing, "finished", spy)
    draw(measure(cells))
    return found


def test_every_point_of_the_trade_off_has_the_number_of_its_cell_in_the_key(campaign, monkeypatch) -> None:
    figure = drawn_figures(campaign, monkeypatch)["tradeoff"]
    (key,) = figure.legends
    named = [text.get_text().split("  ", 1) for text in key.get_texts()]
    assert [name for _, name in named] == [cell.manifest.label for cell in campaign if cell.complete]
    found = {one.label: one.get(accuracy.METRIC) for one in measure(campaign)}
    for axes in figure.axes:
        heights = {note.get_text(): note.xy[1] for note in axes.texts}
        assert heights == {number: 100 * found[name].fraction for number, name in named}


def test_axes_of_emulated_quantities_say_so(campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        name: [axes.get_xlabel() + axes.get_ylabel() + "/" + axes.get_title("right") for axes in figure.axes]
        for name, figure in drawn_figures(campaign, monkeypatch).items()
    }
    for name in ("tradeoff", "stages", "power"):
        assert all("(emulated)" in text and text.endswith("/emulated") for text in texts[name])
    assert not any("emulated" in text for text in texts["exits"])


def test_a_cell_with_a_threshold_per_timestep_is_left_out_of_the_threshold_axis_and_named(make_cell) -> None:
    rule = {"policy": "max_softmax", "accumulate": "mean", "threshold": None, "thresholds": [0.9, 0.8, 0.7]}
    cells = [make_cell("edge only", "edge_only", baseline=True), make_cell("all"), make_cell("each", rule=rule)]
    drawn = {one.name: one for one in draw(measure(cells))}
    assert "a threshold for each timestep" in drawn["exits"].caption


def test_the_report_loads_nothing_and_says_that_it_is_emulated(campaign, tmp_path: Path) -> None:
    html = publish(tmp_path, campaign).report.read_text()
    assert not re.search(r"\b(src|href)\s*=(?!\"data:)", html)
    assert not re.search(r"@import|url\(|<script", html)
    assert html.count('src="data:image/png;base64,') == 4
    assert "<strong>Emulated.</strong>" in html
    assert "server: went silent" in html
    assert "<th>± drift</th>" in html
    assert "7,000.000 ± 0.050 ms</td><td>0.00 ± 1.00 ppm</td>" in html


def test_the_report_of_measured_nodes_has_no_banner(make_cell, tmp_path: Path) -> None:
    assert "Emulated." not in publish(tmp_path, [make_cell("sensor", emulated=False)]).report.read_text()


def test_the_report_escapes_what_the_record_says(make_cell, tmp_path: Path) -> None:
    html = publish(tmp_path, [make_cell("<script>", state="failed", reasons=["<b>"])]).report.read_text()
    assert "&lt;script&gt;" in html
    assert "<b>" not in html


def test_publishing_measures_each_cell_once(campaign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []

    def spy(one):
        measured.append(one.label)
        return accuracy.accuracy(one)

    monkeypatch.setitem(METRICS, "accuracy", dataclasses.replace(accuracy.METRIC, of=spy))
    made = publish(tmp_path, campaign)
    assert measured == [cell.manifest.label for cell in campaign if cell.complete]
    assert all(path.exists() for path in (made.summary, *made.tables, *made.figures, made.report))
    assert len(made.table[1]) == len(campaign)
