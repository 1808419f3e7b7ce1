from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.text import Text

from analysis.figures.choose import Query
from analysis.figures.drawing import draw, save
from analysis.figures.registry import FIGURES, figures
from analysis.metrics.registry import measure
from testbed.errors import RecordError
from tests.devices.base.installed import install


def test_every_figure_is_written_as_png_and_pdf_with_what_it_follows_from(campaign, tmp_path: Path) -> None:
    drawings = draw(measure(campaign))
    assert [drawing.name for drawing in drawings] == [name for name in FIGURES if name not in ("links", "load")]
    for path in save(tmp_path, drawings[:2]):
        begin = {".png": b"\x89PNG", ".pdf": b"%PDF", ".json": b"{"}[path.suffix]
        assert path.read_bytes().startswith(begin)
        assert path.parent == tmp_path / "figures"


def test_a_failed_and_an_invalid_cell_are_refused_by_figures_and_named(make_cell) -> None:
    cells = [
        make_cell("good"),
        make_cell("throttled", valid=False, reasons=["throttled for 3 s"]),
        make_cell("dead", state="failed"),
    ]
    measured = measure(cells)
    (one,) = draw(measured, Query(only=["stages"]))
    assert one.caption.endswith("Left out: throttled (invalid), dead (failed).")
    assert one.figure.get_supxlabel() == "Left out: throttled (invalid), dead (failed)."
    (one,) = draw(measured, Query(only=["stages"], include_invalid=True))
    assert one.caption.endswith("Left out: dead (failed).")
    assert [text.get_text() for text in one.figure.axes[0].get_yticklabels()] == ["good", "throttled (invalid)"]
    assert one.figure.axes[0].get_title("right") == "emulated + invalid"


def test_the_mark_of_invalid_cells_stands_on_the_panel_that_shows_them(make_cell) -> None:
    cells = [
        make_cell("edge only", "edge_only", baseline=True),
        make_cell("fine", position=1),
        make_cell("throttled", valid=False, position=2),
    ]
    query = Query(only=["power", "traffic", "tradeoff"], include_invalid=True)
    marks = {
        one.name: ["invalid" in axes.get_title("right") for axes in one.figure.axes]
        for one in draw(measure(cells), query)
    }
    assert marks == {"power": [False, False], "traffic": [True], "tradeoff": [True, True, True]}


def test_figures_of_nothing_valid_are_an_error(make_cell) -> None:
    with pytest.raises(RecordError, match=r"no figure can be drawn.*dead \(failed\)"):
        draw(measure([make_cell("dead", state="failed")]))


def test_power_is_left_out_where_nothing_was_metered(make_cell, caplog: pytest.LogCaptureFixture) -> None:
    measured = measure([make_cell("bare", metered=False)])
    (one,) = draw(measured, Query(only=["stages", "power", "energy"]))
    assert one.name == "stages"
    assert "power: no cell has power samples" in caplog.text
    assert "energy: no cell has an energy of its edge" in caplog.text


def test_axes_of_emulated_quantities_say_so(campaign) -> None:
    names = ("tradeoff", "stages", "power", "energy", "latency_cdf", "exits")
    drawn = {one.name: one.figure for one in draw(measure(campaign), Query(only=names))}
    texts = {
        name: [f"{axes.get_xlabel()} {axes.get_ylabel()}/{axes.get_title('right')}" for axes in figure.axes]
        for name, figure in drawn.items()
    }
    for name in names[:-1]:
        assert all("(emulated)" in text and text.endswith("/emulated") for text in texts[name]), name
    assert not any("emulated" in text for text in texts["exits"])


def test_measured_and_emulated_cells_share_no_axes(make_cell) -> None:
    measured = measure([make_cell("board", emulated=False), make_cell("model", emulated=True)])
    for one in draw(measured, Query(only=["tradeoff", "stages", "energy", "latency_cdf"])):
        marked = [axes.get_title("right") == "emulated" for axes in one.figure.axes]
        assert marked == sorted(marked)
        assert sum(marked) == len(marked) / 2, one.name


@pytest.mark.parametrize(("style", "width_in"), [("ieee", 3.5), ("ieee-wide", 7.16), ("acm", 3.33), ("slide", 12.5)])
def test_a_figure_is_as_wide_as_its_page_and_no_letter_is_under_7_pt(make_cell, style: str, width_in: float) -> None:
    cells = [make_cell("edge only", "edge_only", baseline=True), make_cell("co-inference", position=1)]
    for one in draw(measure(cells), Query(style=style, only=["tradeoff", "stages", "network"])):
        assert one.figure.get_figwidth() == width_in
        least = min(text.get_fontsize() for text in one.figure.findobj(Text) if text.get_text())
        assert least == pytest.approx(7 * (1.75 if style == "slide" else 1))


def test_no_text_of_a_figure_reaches_over_its_edge(campaign) -> None:
    for one in draw(measure(campaign), Query(style="ieee", only=["tradeoff", "energy", "exits", "calibration"])):
        box, (width, height) = one.figure.get_tightbbox(), one.figure.get_size_inches()
        assert -0.02 < box.x0 < box.x1 < width + 0.02, one.name
        assert -0.02 < box.y0 < box.y1 < height + 0.02, one.name


def test_letters_of_a_pdf_are_type_42_and_those_of_an_svg_are_text(make_cell) -> None:
    (one,) = draw(measure([make_cell("some")]), Query(only=["stages"]))
    assert b"/Type3" not in one.pdf
    assert b"/FontFile2" in one.pdf
    assert ">some</text>" in one.svg.decode()
    assert "edge compute" in one.svg.decode()


def test_a_cell_with_a_threshold_per_timestep_is_left_out_of_the_threshold_axis_and_named(make_cell) -> None:
    rule = {"policy": "max_softmax", "accumulate": "mean", "threshold": None, "thresholds": [0.9, 0.8, 0.7]}
    cells = [make_cell("edge only", "edge_only", baseline=True), make_cell("all"), make_cell("each", rule=rule)]
    (one,) = draw(measure(cells), Query(only=["exits"]))
    assert "a threshold for each timestep" in one.caption


def test_an_outside_figure_that_is_no_function_is_refused_in_one_line(tmp_path, monkeypatch) -> None:
    install(tmp_path, "my-extras", {"testbed.figures": "dots = my_dots:DOTS"}, {"my_dots.py": "DOTS = 7\n"})
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RecordError, match=r"'dots' of testbed.figures is no function that draws; name one"):
        figures()
