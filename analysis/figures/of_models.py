"""Figures and table of evaluated models, beside the file that `testbed evaluate` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.curves import EVALUATED, Curves, read_curves
from analysis.figures.choose import Query
from analysis.figures.drawing import Drawing, Kind, settle
from analysis.figures.look import using
from analysis.figures.registry import OF_MODELS
from analysis.markup import markdown
from analysis.texts import Table
from testbed.record.log import write_atomically


def publish_models(folder: Path, style: str, kinds: Sequence[Kind] = ("png", "pdf")) -> list[Path]:
    """Draw what the models in a folder's `models.csv` allow, and write the table of their codes; returns the paths.

    Raises:
        RecordError: there is no such file, no variant has a bottleneck, or no such style.
    """
    curves = read_curves(folder / EVALUATED)
    paths = []
    with using(style):
        for name, figure_of in OF_MODELS.items():
            figure, caption = figure_of(curves)
            settle(figure)
            drawing = Drawing(name, caption, figure, Query(style=style), [])
            for kind in kinds:
                paths.append(folder / f"{name}.{kind}")
                write_atomically(paths[-1], getattr(drawing, kind))
            paths.append(folder / f"{name}.md")
            text = f"{caption}\n\n" + "\n".join(markdown(*table_of_codes(one)) for one in curves)
            write_atomically(paths[-1], text.encode())
    return paths


def table_of_codes(curves: Curves) -> Table:
    """The curves of a recipe in numbers: the uncut networks, then each split's codes."""
    headers = [
        curves.title, "code", "edge's share [%]", "bits a timestep", "entropy-coded", "payload [B]",
        "accuracy [%]", "of each seed", "drop [points]", "to the control",
    ]  # fmt: skip
    rows = [["uncut", *[""] * 5, *_accuracy(curves.uncut.mean, curves.uncut.seeds), "", ""]]
    if curves.control is not None:
        drop = f"{100 * (curves.uncut.mean - curves.control.mean):.2f}"
        rows.append(["uncut control", *[""] * 5, *_accuracy(curves.control.mean, curves.control.seeds), drop, ""])
    for split, points in curves.splits.items():
        rows += [
            [
                f"{split}: {point.variant}",
                point.code,
                f"{100 * point.edge_share:.0f}",
                f"{point.nominal_bits:g}",
                f"{point.bits:.1f}",
                f"{point.request_bytes:.1f}",
                *_accuracy(point.reached.mean, point.reached.seeds),
                f"{point.drop:.2f}",
                "" if point.drop_to_control is None else f"{point.drop_to_control:.2f}",
            ]
            for point in points
        ]
    return headers, rows


def _accuracy(mean: float, seeds: Sequence[float]) -> tuple[str, str]:
    return f"{100 * mean:.2f}", " ".join(f"{100 * one:.2f}" for one in seeds)
