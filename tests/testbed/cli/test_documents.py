"""What `--json` prints is one document, and says what the verb says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from testbed.campaign.collect import collect_cell
from testbed.cli import node, results
from testbed.runtime.artefact import write_card
from tests.made import cells, records


def test_a_check_that_fails_is_a_document_and_an_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile = tmp_path / "board.yaml"
    profile.write_text("name: board\nkind: toaster\n")
    with pytest.raises(typer.Exit) as ended:
        node.check([profile], as_json=True)
    said = capsys.readouterr()
    assert ended.value.exit_code == 1
    ((told,),) = json.loads(said.out).values()
    assert (told["node"], told["ready"]) == (str(profile), False)
    (line,) = told["lines"]
    assert (line["state"], line["what"], line["fix"]) == ("failed", "profile", "correct the line that is named")
    assert "testbed: not ready to measure" in said.err


def test_the_cells_of_results_are_a_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = cells.begun(tmp_path / "toy" / "first", repeats=1, cell="first", label="edge & cloud")
    cells.measured(cell, 0)
    collect_cell(cell)
    results.show(tmp_path / "toy", as_json=True)
    (told,) = json.loads(capsys.readouterr().out)["cells"]
    assert (told["cell"], told["label"], told["mode"]) == ("first", "edge & cloud", "co_inference")
    assert 0 <= told["accuracy"] <= 1
    assert told["energy_mj"] is None


def test_a_model_is_a_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "edge.onnx").write_bytes(b"graph")
    card = write_card(tmp_path, records.model())
    results.show(tmp_path, as_json=True)
    told = json.loads(capsys.readouterr().out)["model"]
    assert (told["name"], told["hash"]) == (card.name, card.hash)
