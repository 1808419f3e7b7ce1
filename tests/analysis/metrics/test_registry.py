"""A metric and a figure are added by a file: here, or in a package of one's own by an entry point."""

from __future__ import annotations

import csv
import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.metrics import __main__ as metrics_page
from analysis.metrics import accuracy
from analysis.metrics.registry import METRICS, measure, metrics
from devices.base.errors import TestbedError
from tests.devices.base.installed import install

ROOT = Path(__file__).parents[3]

SLOWEST = '''"""The slowest answered request."""
from analysis.metrics.metric import Column, Heading, Metric

METRIC = Metric(
    name="slowest",
    term="slowest request",
    doc=__doc__,
    of=lambda one: float(one.answered["latency_ms"].max()),
    columns=(Column("latency_max_ms", "ms", lambda found: found),),
    headings=(Heading("max [ms]", lambda found: f"{found:.1f}"),),
    details=lambda found: [("slowest request", f"{found:.1f} ms")],
)
'''
DOTS = '''"""A dot for each cell's slowest request."""
from analysis.figures.style import blank

def dots(shown):
    figure, ((axes,),) = blank(1, 1, 2.0)
    axes.plot([one.values["slowest"] for one in shown], "o")
    return figure, "The slowest request of each cell."
'''


@pytest.fixture
def extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of somebody's own, as pip leaves it."""
    site = tmp_path / "site"
    points = {"testbed.metrics": "slowest = my_slowest:METRIC", "testbed.figures": "dots = my_dots:dots"}
    install(site, "my-extras", points, {"my_slowest.py": SLOWEST, "my_dots.py": DOTS})
    monkeypatch.syspath_prepend(str(site))
    return site


def test_an_outside_metric_and_figure_are_in_summary_tables_figures_and_report(campaign, extra, tmp_path) -> None:
    # In a process of its own, as the command runs.
    code = (
        "import sys; from pathlib import Path; from analysis.publish import publish\n"
        "from testbed.record.reader import read_campaign\n"
        "publish(Path(sys.argv[1]), read_campaign(Path(sys.argv[1]), print))"
    )
    folder = campaign[0].folder.parent
    environment = {"PYTHONPATH": f"{ROOT}:{extra}", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code, folder], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with (folder / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[-4:] == ["latency_max_ms", "compared_with", "valid", "reasons"]
    assert [row["latency_max_ms"] for row in rows] == ["82", "47", "32", "27", "14", ""]
    assert "max [ms]" in (folder / "tables" / "summary.md").read_text()
    assert "</svg>" in (folder / "figures" / "dots.svg").read_text()
    said = " ".join(re.sub("<[^>]+>", " ", (folder / "report.html").read_text()).split())
    assert "slowest request The slowest answered request." in said
    assert "slowest request 82.0 ms" in said
    assert "The slowest request of each cell." in said


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("METRIC = 7\n", r"the plug-in 'slowest' of testbed.metrics is no metric of that name; name its Metric"),
        (SLOWEST.replace('name="slowest"', 'name="other"'), r"'slowest' of testbed.metrics is no metric of that name"),
        (SLOWEST.replace("latency_max_ms", "accuracy"), r"two metrics have a column 'accuracy'; rename it"),
        (SLOWEST.replace("latency_max_ms", "reasons"), r"two metrics have a column 'reasons'; rename it"),
        ("import nothing_of_that_name\n", r"the plug-in 'slowest' of testbed.metrics .*cannot be loaded"),
    ],
    ids=["no metric", "another name", "a column that is taken", "a column of the summary's own", "no module"],
)
def test_an_outside_metric_that_cannot_be_is_refused_in_one_line(tmp_path, monkeypatch, source, message) -> None:
    install(tmp_path, "my-extras", {"testbed.metrics": "slowest = my_metric:METRIC"}, {"my_metric.py": source})
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_metric", raising=False)
    with pytest.raises(TestbedError, match=message) as caught:
        metrics()
    assert "\n" not in str(caught.value)


def test_a_metric_is_measured_after_what_it_needs_wherever_it_stands(make_cell, monkeypatch) -> None:
    half = dataclasses.replace(
        accuracy.METRIC, name="half", needs=(accuracy.METRIC,), of=lambda one: one.get(accuracy.METRIC).fraction / 2,
        columns=(), headings=(), details=lambda _: [],
    )  # fmt: skip
    monkeypatch.setattr("analysis.metrics.registry.METRICS", {"half": half, **METRICS})
    (one,) = measure([make_cell("one")])
    assert one.get(half) == one.get(accuracy.METRIC).fraction / 2


def test_what_several_metrics_miss_is_told_once(make_cell) -> None:
    cell = make_cell("lost")
    (cell.folder / "requests.parquet").unlink()
    (one,) = measure([cell])
    assert one.valid is False
    assert len(one.problems) == 1
    assert "requests.parquet: missing" in one.reasons[0]


def test_the_page_of_metrics_is_what_their_files_say() -> None:
    found = (ROOT / "docs" / "metrics.md").read_text()
    assert found == metrics_page.page(METRICS.values()), "python -m analysis.metrics > docs/metrics.md"
