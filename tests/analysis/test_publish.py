from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from analysis.metrics import accuracy
from analysis.metrics.registry import METRICS
from analysis.publish import publish


def test_the_report_loads_nothing_and_says_that_it_is_emulated(campaign, tmp_path: Path) -> None:
    html = publish(tmp_path, campaign).report.read_text()
    assert not re.search(r"\b(src|href)\s*=(?!\"data:)", html)
    assert not re.search(r"@import|url\(|<script", html)
    assert html.count('src="data:image/png;base64,') == 4
    assert "<strong>Emulated.</strong>" in html
    assert "server: went silent" in html
    assert "<th>± drift</th>" in html
    assert "7,000.000 ± 0.050 ms</td><td>0.00 ± 1.00 ppm</td>" in html


def test_the_report_of_measured_nodes_has_no_banner(make_cell, tmp_path: Path) -> None:
    assert "Emulated." not in publish(tmp_path, [make_cell("sensor", emulated=False)]).report.read_text()


def test_the_report_escapes_what_the_record_says(make_cell, tmp_path: Path) -> None:
    html = publish(tmp_path, [make_cell("<script>", state="failed", reasons=["<b>"])]).report.read_text()
    assert "&lt;script&gt;" in html
    assert "<b>" not in html


def test_publishing_measures_each_cell_once(campaign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []

    def spy(one):
        measured.append(one.label)
        return accuracy.accuracy(one)

    monkeypatch.setitem(METRICS, "accuracy", dataclasses.replace(accuracy.METRIC, of=spy))
    made = publish(tmp_path, campaign)
    assert measured == [cell.manifest.label for cell in campaign if cell.complete]
    assert all(path.exists() for path in (made.summary, *made.tables, *made.figures, made.report))
    assert len(made.table[1]) == len(campaign)
