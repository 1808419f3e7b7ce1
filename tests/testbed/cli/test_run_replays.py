"""What `testbed run` replays when all is measured."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from analysis import replay as replaying
from testbed.cli import measure
from testbed.experiment.replays import Replay
from testbed.record import reader


def test_the_exits_that_were_not_measured_are_rows_of_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = SimpleNamespace(cell="abc", label="edge-only")
    monkeypatch.setattr(reader, "read_cell", lambda path: SimpleNamespace(manifest=manifest, folder=path))

    def curves(cells, policy, accumulate, thresholds):
        (cell,) = cells
        if policy == "entropy":
            return [], ["edge-only: it cannot be"]
        return [(cell, pd.DataFrame({"threshold": thresholds, "accuracy": 0.5}))], []

    monkeypatch.setattr(replaying, "curves", curves)
    cell = SimpleNamespace(folder=SimpleNamespace(path=tmp_path / "abc"))
    asked = [Replay(0, "max_softmax", "mean", [0.8, [0.9, 0.7]]), Replay(0, "entropy", "mean", [0.5])]
    measure._replay(SimpleNamespace(replays=asked, cells=[cell], folder=SimpleNamespace(path=tmp_path)))  # noqa: SLF001
    lines = (tmp_path / "replay.csv").read_text().splitlines()
    assert lines == [
        "cell,label,threshold,accuracy,policy,accumulate",
        "abc,edge-only,0.8,0.5,max_softmax,mean",
        "abc,edge-only,0.9 0.7,0.5,max_softmax,mean",
    ]
