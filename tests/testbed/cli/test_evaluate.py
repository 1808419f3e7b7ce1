"""`testbed evaluate --exit` says which of its recipes have no exit."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from testbed.cli import model
from testbed.cli.app import guarded

TRAIN = Path(__file__).parents[3] / "experiments" / "train"
SPIKING, ANN, ANOTHER_ANN = (TRAIN / f"{name}.yaml" for name in ("quickstart", "quickstart-ann", "digits-resnet18-ann"))


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The recipes that are evaluated; nothing is computed for it."""
    recipes: list[Path] = []
    monkeypatch.setattr("testbed.snn.evaluate.evaluate", lambda recipe, *_: recipes.append(recipe) or [])
    return recipes


def evaluate(*recipes: Path, exits: list[float] | None) -> None:
    guarded(model.evaluate)(recipes=list(recipes), exits=exits, quiet=False)


def test_an_ann_beside_a_spiking_network_is_evaluated_without_the_exit_and_a_line_says_so(evaluated, capsys) -> None:
    evaluate(SPIKING, ANN, exits=[0.7])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"{ANN}: a relu network answers once, so it has no exit; its rows are without one")
    assert evaluated == [SPIKING, ANN]


def test_an_exit_of_anns_alone_is_refused_before_anything_is_computed(evaluated, capsys) -> None:
    with pytest.raises(typer.Exit) as ended:
        evaluate(ANN, ANOTHER_ANN, exits=[0.7])
    assert ended.value.exit_code == 1
    said = f"testbed: {ANN}, {ANOTHER_ANN}: a relu network answers once, so it has no exit; leave --exit out\n"
    assert capsys.readouterr().err == said
    assert evaluated == []


def test_nothing_is_said_of_exits_that_nobody_asked_for(evaluated, capsys) -> None:
    evaluate(ANN, exits=None)
    assert capsys.readouterr().err == ""
    assert evaluated == [ANN]
