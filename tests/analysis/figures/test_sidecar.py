"""What is asked of figures, and the document beside each that says what it follows from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace as replaced
from typer.testing import CliRunner

from analysis.figures.choose import Query, chosen
from analysis.figures.drawing import draw, save
from analysis.figures.sidecar import check
from analysis.metrics.registry import measure
from testbed.cli.app import app
from testbed.errors import RecordError
from testbed.record.log import write_json
from testbed.record.reader import read_cell


@pytest.fixture
def drawn(make_cell, tmp_path: Path) -> Path:
    """The results of two cells whose stages are drawn."""
    cells = [make_cell("edge only", "edge_only", baseline=True), make_cell("co-inference", position=1)]
    save(tmp_path / "toy", draw(measure(cells), Query(only=["stages"])))
    return tmp_path / "toy"


def reasons(folder: Path) -> list[str]:
    (found,) = check(folder).values()
    return found


def test_a_figure_follows_from_its_data_until_they_change(drawn: Path) -> None:
    assert reasons(drawn) == []
    table = drawn / "co-inference" / "requests.parquet"
    table.write_bytes(table.read_bytes() + b"!")
    assert reasons(drawn) == ["cell co-inference (co-inference) has other data than the figure was drawn from"]


def test_a_cell_that_came_later_and_a_picture_that_was_touched_are_told(drawn: Path, make_cell) -> None:
    make_cell("late", position=2)
    (drawn / "figures" / "stages.png").write_bytes(b"other")
    (drawn / "figures" / "stages.pdf").unlink()
    assert reasons(drawn) == [
        "cell late (late) was not there when it was drawn",
        "stages.png was changed after it was drawn",
        "stages.pdf is gone",
    ]


def test_a_figure_of_chosen_cells_does_not_mind_the_others(make_cell, tmp_path: Path) -> None:
    cells = [make_cell("edge only", "edge_only", baseline=True), make_cell("a"), make_cell("b", position=1)]
    save(tmp_path / "toy", draw(measure(cells), Query(only=["stages"], cells=["a"])))
    told = json.loads((tmp_path / "toy" / "figures" / "stages.json").read_text())
    assert [(cell["cell"], cell["use"]) for cell in told["cells"]] == [("a", "shown"), ("edge-only", "baseline")]
    assert told["query"]["cells"] == ["a"]
    assert {"testbed", "matplotlib", "python"} <= told["versions"].keys()
    write_json(tmp_path / "toy" / "b" / "manifest.json", replaced(cells[2].manifest, label="c"))
    assert reasons(tmp_path / "toy") == []


def test_results_without_tables_cannot_be_checked(drawn: Path) -> None:
    for path in drawn.glob("*/*.parquet"):
        path.unlink()
    assert reasons(drawn)[0] == "cell edge-only (edge only) has no tables here, so nobody can tell"


def test_cells_are_chosen_by_id_or_pattern_and_named_as_asked(campaign) -> None:
    measured = measure(campaign)
    found = chosen(measured, Query(cells=["edge*", "cloud-only"], labels={"edge only": "baseline"}))
    assert [one.label for one in found.shown] == ["baseline", "edge only, exit", "cloud only"]
    assert found.shown[2].baseline is not None
    assert found.shown[2].baseline.label == "baseline"
    assert found.note == ""
    with pytest.raises(RecordError, match=r"no cell has the id 'x\*' or a label like it; there are: edge only;"):
        chosen(measured, Query(cells=["x*"]))
    with pytest.raises(RecordError, match="no cell has the id or the label 'x'"):
        chosen(measured, Query(labels={"x": "y"}))


def test_a_style_or_a_figure_that_there_is_not_is_told_what_there_is() -> None:
    with pytest.raises(RecordError, match="no style 'poster' of figures; there are ieee, ieee-wide, acm, slide"):
        Query(style="poster").check()
    with pytest.raises(RecordError, match="no figure 'pie'; there are tradeoff, stages, "):
        Query(only=["pie"]).check()


def test_the_command_draws_a_style_into_a_folder_of_its_own_and_checks_it(drawn: Path) -> None:
    run = CliRunner().invoke
    made = run(app, ["figures", str(drawn), "--style", "ieee", "--only", "stages", "--labels", "co-inference=ours"])
    assert made.exit_code == 0, made.output
    assert {path.name for path in (drawn / "figures" / "ieee").iterdir()} == {"stages.pdf", "stages.png", "stages.json"}
    told = run(app, ["figures", str(drawn), "--check"])
    assert (told.exit_code, told.output.strip()) == (0, "2 of 2 figures follow from the results.")
    (drawn / "figures" / "ieee" / "stages.pdf").unlink()
    assert run(app, ["figures", str(drawn), "--check"]).exit_code == 1
    wrong = run(app, ["figures", str(drawn), "--labels", "ours"])
    assert wrong.exit_code == 1


def test_a_picture_of_another_kind_stays_while_it_is_of_the_same_data(make_cell, tmp_path: Path) -> None:
    cell, figures = make_cell("some"), tmp_path / "toy" / "figures"

    def drawings():
        return draw(measure([read_cell(cell.folder)]), Query(only=["stages"]))

    save(tmp_path / "toy", drawings(), ["pdf"])
    save(tmp_path / "toy", drawings(), ["svg"])
    assert {path.name for path in figures.iterdir()} == {"stages.pdf", "stages.svg", "stages.json"}
    assert reasons(tmp_path / "toy") == []
    write_json(cell.folder / "manifest.json", replaced(cell.manifest, label="other"))
    save(tmp_path / "toy", drawings(), ["svg"])
    assert {path.name for path in figures.iterdir()} == {"stages.svg", "stages.json"}
