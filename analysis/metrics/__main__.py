"""`python -m analysis.metrics > docs/metrics.md` writes the page of the testbed's own metrics."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

from analysis.metrics.metric import Metric
from analysis.metrics.registry import METRICS

_WIDTH = 120
_HEAD = """# Metrics

`python -m analysis.metrics > docs/metrics.md` writes this page. Each metric is a file in `analysis/metrics/`. Its
docstring is its definition here and in `report.html`. `summary.csv` begins with `cell`, `label` and the factors of the
cell, and ends with `compared_with`, `valid` and `reasons` ([results](results.md)). The columns below stand between
them, in this order.
"""


def page(metrics: Iterable[Metric[Any]]) -> str:
    """The page as Markdown: for each metric its definition, its columns with units, and its headings in the tables."""
    return _HEAD + "".join(_section(metric) for metric in metrics)


def _section(metric: Metric[Any]) -> str:
    columns = ", ".join(f"`{column.name}`" + (f" [{column.unit}]" if column.unit else "") for column in metric.columns)
    headings = ", ".join(heading.header for heading in metric.headings)
    lines = [f"- summary.csv: {columns}"] if columns else []
    lines += [f"- tables: {headings}"] if headings else []
    definition = textwrap.fill(metric.definition, _WIDTH, break_on_hyphens=False)
    return "\n".join(["", f"## {metric.term}", "", definition, *([""] if lines else []), *lines, ""])


if __name__ == "__main__":
    print(page(METRICS.values()), end="")
