"""What a schedule is chosen by: where the validation samples exit, and how many timesteps a chunk may have."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from testbed.experiment import autoschedule
from testbed.experiment.cell import CellSpec, ModelRef
from testbed.link.messages import ExitConfig
from testbed.snn import validation
from tests.made import records

RULE = SimpleNamespace(config=ExitConfig(policy="max_softmax", accumulate="mean", thresholds=[0.9, 0.9, 0.9]))
MODEL = ModelRef(recipe=Path("r.yaml"), variant="coded")
SURE, UNSURE = [9.0, 0.0], [0.1, 0.0]


def spec(**keys: Any) -> CellSpec:
    return CellSpec(mode="co_inference", model="coded", codec="packed", **keys)


def resolved(cell: CellSpec, rule: Any = None, timesteps: int = 4) -> Any:
    return autoschedule.resolve(cell, rule, MODEL, Path(), None, records.model(timesteps=timesteps))  # type: ignore[arg-type]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Logits of four samples: two are sure at once, one at the third timestep, one never."""
    monkeypatch.setattr(autoschedule, "_folder", lambda *asked: tmp_path)
    late = [UNSURE, UNSURE, [30.0, 0.0], UNSURE]
    logits = np.array([[SURE] * 4, [SURE] * 4, late, [UNSURE] * 4]).swapaxes(0, 1)
    np.save(tmp_path / "split.npy", logits)
    (tmp_path / validation.DOCUMENT).write_text("{}")
    return tmp_path


def test_the_shares_are_those_of_the_validation_samples_under_the_cell_s_rule(kept: Path) -> None:
    found = resolved(spec(schedule="auto", exit={"threshold": 0.9}), RULE)
    assert found.exits == [0.5, 0.0, 0.25, 0.25]
    assert found.sizes == [1, 2, 3, 4]


def test_without_an_exit_all_go_on_to_the_end_and_no_sample_is_run() -> None:
    assert resolved(spec(schedule="auto")).exits == [0.0, 0.0, 0.0, 1.0]


def test_of_many_timesteps_few_sizes_are_made() -> None:
    assert resolved(spec(schedule="auto"), timesteps=10).sizes == [1, 2, 5, 9, 10]


def test_a_cell_that_says_its_own_schedule_has_none_to_choose() -> None:
    assert resolved(spec(window=2)) is None


def test_it_is_known_once_the_samples_were_run(kept: Path) -> None:
    asked = (spec(schedule="auto", exit={"threshold": 0.9}), MODEL, Path(), None, records.model())
    assert autoschedule.is_known(*asked)  # type: ignore[arg-type]
    (kept / validation.DOCUMENT).unlink()
    assert not autoschedule.is_known(*asked)  # type: ignore[arg-type]
