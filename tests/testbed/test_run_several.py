"""Several experiments in one command: what cannot be measured is said first, and the others are measured."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from testbed.cli import measure
from testbed.errors import ModelError, TestbedError

A, B, C = (Path(f"{name}.yaml") for name in "abc")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch):
    """Runs three experiments of which some end with a code; returns those that were measured, and the code."""

    def run(codes: dict[Path, int], on_error: str = "skip", untrained: Path | None = None) -> tuple[list[Path], int]:
        measured: list[Path] = []

        def planned(path: Path) -> Any:
            if path == untrained:
                raise ModelError(f"{path}: not trained yet")
            experiment = SimpleNamespace(name=path.stem, title=None, on_error=on_error)
            return SimpleNamespace(folder=path.stem, experiment=experiment)

        def one(path: Path, _plan: Any, _fresh: bool, _no_report: bool) -> None:
            measured.append(path)
            if path in codes:
                raise typer.Exit(codes[path])

        monkeypatch.setattr(measure, "_measure", one)
        try:
            measure._measure_all([A, B, C], planned, False, False)  # noqa: SLF001
        except typer.Exit as ended:
            return measured, ended.exit_code
        return measured, 0

    return run


def test_all_are_measured_in_their_order(run) -> None:
    assert run({}) == ([A, B, C], 0)


def test_one_that_fails_is_a_failure_in_the_end_and_the_others_are_measured(run) -> None:
    assert run({A: 1}) == ([A, B, C], 1)


def test_an_interrupt_or_on_error_stop_ends_them_all(run) -> None:
    assert run({B: 130}) == ([A, B], 130)
    assert run({B: 1}, on_error="stop") == ([A, B], 1)


def test_what_cannot_be_planned_is_said_before_the_others_are_measured(run, capsys) -> None:
    assert run({}, untrained=C) == ([A, B], 1)
    assert "c.yaml: not trained yet" in capsys.readouterr().err


def test_two_experiments_of_one_name_are_refused() -> None:
    def planned(path: Path) -> Any:
        return SimpleNamespace(folder="x", experiment=SimpleNamespace(name="x"))

    with pytest.raises(TestbedError, match=r"b\.yaml and a\.yaml are both named x"):
        measure._measure_all([A, B], planned, False, False)  # noqa: SLF001
