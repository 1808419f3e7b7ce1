from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from analysis.figures import drawing
from analysis.figures.drawing import draw, save
from analysis.figures.registry import figures
from analysis.metrics import accuracy
from analysis.metrics.registry import measure
from testbed.errors import RecordError
from tests.devices.base.installed import install


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


def test_an_outside_figure_that_is_no_function_is_refused_in_one_line(tmp_path, monkeypatch) -> None:
    install(tmp_path, "my-extras", {"testbed.figures": "dots = my_dots:DOTS"}, {"my_dots.py": "DOTS = 7\n"})
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(RecordError, match=r"'dots' of testbed.figures is no function that draws; name one"):
        figures()
