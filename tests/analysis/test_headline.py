"""The headline beside the paper's claims, and what a campaign can resolve."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.headline import headlines
from analysis.headline_table import headline_csv, headline_latex, headline_markdown, headline_table
from analysis.metrics import accuracy_drop, latency_speedup
from analysis.metrics.registry import measure
from analysis.resolution import NO_PAIR, resolutions
from analysis.tables import table, write_tables
from testbed.record.reader import Cell, read_cell

ASKED = [range(0, 20), range(10, 30), range(20, 40)]


def changed(cell: Cell, change: Callable[[dict], None]) -> Cell:
    path = cell.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    return read_cell(cell.folder)


def again(cell: Cell) -> Cell:
    return changed(cell, lambda manifest: manifest["config"].update(again=True))


@pytest.fixture
def pair(make_cell) -> list[Cell]:
    """A baseline, the same again a little slower, and one that is far faster."""
    return [
        make_cell("base", "edge_only", baseline=True, latency_ms=80, jitter_mw=30),
        again(make_cell("base again", "edge_only", latency_ms=82, jitter_mw=-30)),
        make_cell("co", latency_ms=20, jitter_mw=30),
    ]


def test_a_baseline_measured_twice_shows_what_can_be_resolved(pair) -> None:
    base, twice, co = measure(pair)
    (found,) = resolutions([base, twice, co])
    speedup = twice.get(latency_speedup.METRIC)
    assert (found.of.label, found.pair.label) == ("base", "base again")
    assert found.speedup == pytest.approx(max(1 - speedup.low, speedup.high - 1))
    assert found.drop_points == 100 / 40  # the networks agree, and a sample of 40 counts 2.5 points
    assert found.saving_pct > 2
    assert "× of speed-up (emulated)" in found.text
    (headline,) = headlines([base, twice, co])
    assert headline.resolution == found
    assert found.text in headline_markdown([headline])


def test_a_difference_that_two_cells_that_are_the_same_may_have_is_not_resolved(make_cell) -> None:
    base, twice, co = (
        make_cell("base", "edge_only", baseline=True, latency_ms=80),
        again(make_cell("base again", "edge_only", latency_ms=90)),
        make_cell("co", latency_ms=76),
    )
    (found,) = headlines(measure([base, twice, co]))
    (speedup,) = (entry for entry in found.entries if entry.quantity.startswith("speed-up"))
    assert (speedup.found.resolved, speedup.resolved) == (True, False)
    assert "1.05 to 1.05, not resolved (A/A)" in headline_markdown([found])
    assert "The pair itself differs in speed-up" in found.resolution.text


def test_without_such_a_pair_the_headline_says_that_it_is_not_known(pair) -> None:
    (headline,) = headlines(measure([pair[0], pair[2]]))
    assert NO_PAIR in headline_markdown([headline])


def test_the_headline_has_claim_number_and_interval_and_says_what_is_emulated(pair) -> None:
    found = headlines(measure(pair))
    headers, rows = headline_table(found)
    assert 4 <= len(headers) <= 7
    by_quantity = {row[2]: row[3:] for row in rows}
    assert by_quantity["data, payload vs float32 [×]"] == ["up to 2048", "512", "512 to 512", "measured"]
    assert by_quantity["data, wire vs packed [×]"][:2] == ["not stated", "4.57"]
    saving = by_quantity["edge energy saving [%]"]
    assert (saving[0], saving[-1]) == ("above 90", "emulated; cloud not metered")
    assert "Latency and energy are emulated (board)" in headline_markdown(found)


def test_the_numbers_of_the_headline_are_in_its_csv_as_they_are(pair) -> None:
    measured = measure(pair)
    rows = list(csv.DictReader(io.StringIO(headline_csv(headlines(measured)))))
    speedup = measured[2].get(latency_speedup.METRIC)
    (row,) = (row for row in rows if row["quantity"].startswith("speed-up"))
    assert [float(row[key]) for key in ("here", "here_lo", "here_hi")] == pytest.approx(
        [speedup.value, speedup.low, speedup.high]
    )
    assert (row["resolved"], row["source"], row["repeats"]) == ("true", "emulated", "3")


def test_each_data_set_and_backbone_has_a_headline_of_its_own(pair, make_cell) -> None:
    def of_vgg(manifest: dict) -> None:
        manifest["model"]["backbone"] = "vgg16"
        manifest["dataset"]["name"] = "cifar10"

    others = [
        changed(make_cell("vgg base", "edge_only", baseline=True, latency_ms=80), of_vgg),
        changed(make_cell("vgg co", latency_ms=40), of_vgg),
    ]
    found = headlines(measure([*pair, *others]))
    assert [(one.dataset, one.backbone) for one in found] == [("digits", "resnet18"), ("cifar10", "vgg16")]
    assert headline_latex(found).count(r"\midrule") == 2
    assert "cifar10, vgg16: vgg co" in headline_latex(found)


def test_headlines_of_one_network_in_two_forms_say_which_is_which(pair, make_cell) -> None:
    def in_int8(manifest: dict) -> None:
        manifest["model"]["weights"] = "int8"

    others = [
        changed(make_cell("int8 base", "edge_only", baseline=True, latency_ms=80), in_int8),
        changed(make_cell("int8 co", latency_ms=40), in_int8),
    ]
    assert [one.network for one in headlines(measure(pair))] == ["resnet18"]
    found = headlines(measure([*pair, *others]))
    assert {row[1] for row in headline_table(found)[1]} == {"resnet18, float", "resnet18, int8"}


def test_the_cell_that_saves_most_among_those_that_lose_little_stands_in_the_headline(make_cell) -> None:
    base = make_cell("base", "edge_only", baseline=True, latency_ms=80)
    slow, wrong, invalid = (
        make_cell("accurate", latency_ms=40),
        make_cell("wrong", latency_ms=10, wrong=9),
        make_cell("invalid", latency_ms=5, valid=False, reasons=["throttled"]),
    )
    (found,) = headlines(measure([base, slow, wrong, invalid]))
    assert (found.cell.label, found.chosen_of) == ("accurate", 2)


def test_an_ann_is_never_the_headline(pair, make_cell) -> None:
    def ann(manifest: dict) -> None:
        manifest["model"] |= {"spiking": False, "weights": "int8"}

    cells = [changed(make_cell(f"ann {mode}", mode, latency_ms=1), ann) for mode in ("edge_only", "cloud_only")]
    (found,) = headlines(measure([*pair, *cells]))
    assert (found.cell.label, found.chosen_of) == ("co", 1)
    assert headlines(measure([pair[0], *cells])) == []


def test_a_metered_cloud_is_not_said_to_be_unmetered(make_cell) -> None:
    cells = [make_cell("base", "edge_only", baseline=True), make_cell("co", cloud_mw=90_000)]
    headers, rows = table(measure(cells))
    assert rows[1][headers.index("mean cloud energy (measured) [mJ]")]
    assert "not metered" not in headline_markdown(headlines(measure(cells)))


def test_an_interval_that_includes_no_difference_is_said_not_to_resolve_it(make_cell) -> None:
    cells = [
        make_cell("base", "edge_only", baseline=True, asked=ASKED),
        make_cell("co", asked=ASKED, wrong=1, jitter_mw=900),
    ]
    measured = measure(cells)
    headers, rows = table(measured)
    assert rows[1][headers.index("drop [points]")].endswith(", not resolved")
    assert "not resolved" not in rows[0][headers.index("drop [points]")]
    assert measured[1].get(accuracy_drop.METRIC).resolved is False


def test_the_headline_is_latex_with_booktabs_and_siunitx(pair, tmp_path: Path) -> None:
    paths = {path.name: path for path in write_tables(tmp_path, measure(pair))}
    assert {"headline.md", "headline.tex", "headline.csv"} <= set(paths)
    tex = paths["headline.tex"].read_text()
    assert tex.isascii()
    for text in (r"\toprule", r"\bottomrule", r"S[table-format", r"\num{", r"[\%]"):
        assert text in tex
    for line in tex.splitlines():
        if line.endswith(r"\\") and not line.startswith(r"\multicolumn"):
            assert line.count(" & ") == 4
