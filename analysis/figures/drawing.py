"""Drawing all figures of measured cells, and writing them as PNG and PDF.

Invalid and incomplete cells are left out and named under the figure, unless they are asked for.
"""

from __future__ import annotations

import io
import logging
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.figures import labels
from analysis.figures.registry import figures
from analysis.figures.style import STYLE
from analysis.metrics import latency
from analysis.metrics.measured import Measured
from testbed.errors import RecordError
from testbed.record.layout import ExperimentFolder
from testbed.record.log import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOG = logging.getLogger(__name__)

_DPI = 200
_NOTE_LETTERS_PER_INCH = 21


@dataclass(frozen=True)
class Drawing:
    """A figure, what it shows in a sentence or two, and its bytes as PNG and PDF."""

    name: str
    caption: str
    png: bytes
    pdf: bytes


def draw(measured: Sequence[Measured], include_invalid: bool = False) -> list[Drawing]:
    """Draw every figure that the cells allow; one that cannot be drawn is logged.

    Raises:
        RecordError: none can be drawn, with the reason of each.
    """
    import matplotlib as mpl

    drawn, refused = [], []
    shown, note = accepted(measured, include_invalid)
    with mpl.rc_context(STYLE):
        for name, figure_of in figures().items():
            try:
                if not shown:
                    raise RecordError(f"no cell is complete and valid ({note})" if note else "no cells")
                figure, caption = figure_of(shown)
            except RecordError as error:
                refused.append(f"{name}: {error}")
                continue
            drawn.append(finished(name, figure, caption, note))
    if not drawn:
        raise RecordError(f"no figure can be drawn: {'; '.join(refused)}")
    for reason in refused:
        LOG.warning("figure left out: %s", reason)
    return drawn


def draw_or_why(measured: Sequence[Measured], include_invalid: bool = False) -> tuple[list[Drawing], str]:
    """The figures that the cells allow; none, and why, where nothing is valid."""
    try:
        return draw(measured, include_invalid), ""
    except RecordError as error:
        return [], str(error)


def save(folder: Path, drawings: Sequence[Drawing]) -> list[Path]:
    """Write figures to `figures/`, as PNG and PDF."""
    paths = []
    for drawing in drawings:
        for suffix, data in ((".png", drawing.png), (".pdf", drawing.pdf)):
            paths.append(ExperimentFolder(folder).figures / f"{drawing.name}{suffix}")
            write_atomically(paths[-1], data)
    return paths


def accepted(measured: Sequence[Measured], include_invalid: bool) -> tuple[list[Measured], str]:
    """The cells that a figure may show, and a note that names the others and why."""
    shown, refused = [], []
    for one in measured:
        wanted = include_invalid and one.valid is False and not one.cell.damage and one.get(latency.METRIC) is not None
        if one.valid or wanted:
            shown.append(one)
        else:
            refused.append(f"{one.label} ({one.verdict})")
    return shown, f"Left out: {', '.join(refused)}." if refused else ""


def finished(name: str, figure: Figure, caption: str, note: str) -> Drawing:
    """Put the note under a figure, settle its labels, and make its files."""
    if note:
        text = textwrap.fill(note, int(figure.get_figwidth() * _NOTE_LETTERS_PER_INCH))
        figure.supxlabel(text, fontsize=6.5, color="#555555", x=0.01, ha="left")
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    labels.settle(figure)
    data = {}
    for kind in ("png", "pdf"):
        sink = io.BytesIO()
        undated = {"CreationDate": None} if kind == "pdf" else None
        figure.savefig(sink, format=kind, dpi=_DPI, facecolor="white", metadata=undated)
        data[kind] = sink.getvalue()
    return Drawing(name, f"{caption} {note}".strip(), data["png"], data["pdf"])
