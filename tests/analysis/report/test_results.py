from __future__ import annotations

from analysis.metrics.measured import Measured
from analysis.metrics.metric import Heading, Metric
from analysis.report.results import GROUPS, results
from tests.made import records


def a_metric(name: str, *texts: str) -> Metric[int]:
    headings = tuple(Heading(f"{name} {number}", lambda _, text=text: text) for number, text in enumerate(texts))
    return Metric(name=name, term=name, doc="", of=lambda _: 1, headings=headings)


def table(*every: Metric[int]):
    one = Measured(records.manifest, {metric.name: 1 for metric in every})
    return results([one], every)


def test_the_overview_has_the_first_column_of_the_latency_and_its_group_has_all() -> None:
    found = table(a_metric("latency", "12", "34"))
    assert [(column.group, column.overview) for column in found.columns] == [("latency", True), ("latency", False)]


def test_columns_of_a_group_stand_together_and_those_of_other_packages_last() -> None:
    found = table(a_metric("carbon", "1"), a_metric("energy", "2"), a_metric("accuracy", "3"))
    assert [column.group for column in found.columns] == ["accuracy", "energy", "more"]
    assert found.rows[0].texts == ["3", "2", "1"]
    assert list(found.groups) == ["accuracy and exits", "energy", "more"]


def test_a_column_that_says_nothing_is_left_out_and_so_is_its_group() -> None:
    found = table(a_metric("accuracy", "3"), a_metric("traffic", ""))
    assert [column.metric for column in found.columns] == ["accuracy"]
    assert "data" not in found.groups


def test_every_metric_with_columns_has_a_group() -> None:
    from analysis.metrics.registry import METRICS

    grouped = {name for names in GROUPS.values() for name in names}
    assert {name for name, metric in METRICS.items() if metric.headings} <= grouped
