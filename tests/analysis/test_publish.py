from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from analysis.figures.registry import FIGURES
from analysis.metrics import accuracy
from analysis.metrics.registry import METRICS
from analysis.publish import publish


def test_publishing_measures_each_cell_once(campaign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []

    def spy(one):
        measured.append(one.label)
        return accuracy.accuracy(one)

    monkeypatch.setitem(METRICS, "accuracy", dataclasses.replace(accuracy.METRIC, of=spy))
    for name in set(FIGURES) - {"stages", "tradeoff"}:
        monkeypatch.delitem(FIGURES, name)
    made = publish(tmp_path, campaign)
    assert measured == [cell.manifest.label for cell in campaign if cell.complete]
    assert all(path.exists() for path in (made.summary, *made.tables, *made.figures, made.report))
    assert len(made.table[1]) == len(campaign)
    html = made.report.read_text()
    assert html.count("<svg ") == sum(path.suffix == ".svg" for path in made.figures)
    assert '<strong>Stages.</strong> <span class="tag warn">emulated</span>' in html
    assert "<title>cloud only, network: Mean latency (emulated) " in html
