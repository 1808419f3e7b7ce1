from __future__ import annotations

from pathlib import Path

import pytest

from analysis.markup import latex, markdown
from analysis.metrics.registry import measure
from analysis.tables import OF_A_PAPER, table, write_tables


def test_emulated_energy_says_so_in_the_header(campaign) -> None:
    headers, rows = table(measure(campaign))
    assert "mean energy (emulated) [mJ]" in headers
    assert not any("measured" in header for header in headers)
    assert all(len(row) == len(headers) for row in rows)
    assert " ± " in rows[0][headers.index("mean energy (emulated) [mJ]")]


def test_emulated_and_measured_energies_have_a_column_each(make_cell) -> None:
    headers, rows = table(measure([make_cell("model"), make_cell("sensor", emulated=False)]))
    emulated, measured = (headers.index(f"mean energy ({kind}) [mJ]") for kind in ("emulated", "measured"))
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
    names = ("summary", *OF_A_PAPER, "energy-measured", "energy-emulated")
    assert set(paths) == {f"{name}.{kind}" for name in names for kind in ("md", "tex")}
    headers, _, gross, net, cloud = (
        [text.strip() for text in line.split("|")[1:-1]] for line in paths["energy-measured.md"]
    )
    assert headers[2:] == [
        "mean energy (measured) [mJ]",
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


def test_the_parts_of_the_main_table_fit_a_page_and_have_its_texts(campaign) -> None:
    measured = measure(campaign)
    whole, texts = table(measured)
    for only in OF_A_PAPER.values():
        headers, rows = table(measured, only)
        assert 4 <= len(headers) <= 8
        assert rows == [[row[whole.index(header)] for header in headers] for row in texts]


def test_wire_bytes_stand_beside_the_payload_wherever_a_reduction_is_printed(campaign) -> None:
    for headers, _ in (table(measure(campaign)), table(measure(campaign), OF_A_PAPER["cells-data"])):
        assert {"mean wire up [B]", "payload vs float32", "wire vs float32", "wire vs packed"} <= set(headers)


def test_every_sign_that_tex_would_read_is_escaped() -> None:
    tex = latex(["cell"], [["a\\b ~ c^2 #1 {x} $3 <4 > µJ·s → ×2 ± 1"]])
    for text in (r"\textbackslash", r"\textasciitilde", r"\^{}2", r"\#1", r"\{x\}", r"\$3", r"$\mu$J$\cdot$s"):
        assert text in tex
    assert tex.isascii()


def test_texts_stay_as_they_are_and_numbers_stand_to_the_right() -> None:
    headers, rows = ["cell", "median [ms]"], [["007", "1.50"], ["1e3", "0.000"]]
    lines = markdown(headers, rows).splitlines()
    texts = [[text.strip() for text in line.strip("|").split("|")] for line in (lines[0], *lines[2:])]
    assert texts == [headers, *rows]
    assert lines[1].startswith("|:--")
    assert lines[1].endswith("-:|")
    assert r"\begin{tabular}{lr}" in latex(headers, rows)
