"""Drawing all figures of measured cells, and writing them: each with a document that says what it shows.

Invalid and incomplete cells are left out and named under the figure, unless they are asked for.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import msgspec

from analysis.figures import labels
from analysis.figures.choose import INVALID, Chosen, Query, chosen
from analysis.figures.hover import Mark, marks
from analysis.figures.look import DEFAULT_LOOK, DPI, using
from analysis.figures.registry import figures
from analysis.figures.sidecar import sidecar, with_kept
from analysis.figures.style import is_marked_invalid, mark_invalid, remark
from analysis.metrics.measured import Measured
from testbed.errors import RecordError
from testbed.record.layout import ExperimentFolder
from testbed.record.log import write_atomically
from testbed.record.reader import Cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind: TypeAlias = Literal["png", "pdf", "svg"]
"""How a figure can be written."""

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Drawing:
    """A figure that is laid out, what it shows in a sentence or two, and what it was drawn from.

    `cells` says of each cell what it is used for, as `CellOfFigure` has it.
    """

    name: str
    caption: str
    figure: Figure
    query: Query
    cells: list[tuple[Cell, str]]

    @cached_property
    def png(self) -> bytes:
        """The picture for a screen."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        return self._by(FigureCanvasAgg(self.figure).print_png)

    @cached_property
    def pdf(self) -> bytes:
        """The picture for a paper, with letters as Type 42; the same figure gives the same bytes."""
        from matplotlib.backends.backend_pdf import FigureCanvasPdf

        return self._by(FigureCanvasPdf(self.figure).print_pdf, metadata={"CreationDate": None})

    @cached_property
    def svg(self) -> bytes:
        """The picture for a page, with letters as text; the same figure gives the same bytes."""
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        return self._by(FigureCanvasSVG(self.figure).print_svg, metadata={"Date": None})

    @cached_property
    def marks(self) -> list[Mark]:
        """The values on it, and where they lie in the SVG."""
        return marks(self.figure)

    def _by(self, write: Callable[..., None], **options: Any) -> bytes:
        """What a canvas writes. `savefig` would lay the figure out again each time, which takes longer than writing."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        sink = io.BytesIO()
        try:
            with using(self.query.style):
                write(sink, **options)
        finally:
            self.figure.set_dpi(DPI)  # vectors are written at 72
            FigureCanvasAgg(self.figure)
        return sink.getvalue()


def draw(measured: Sequence[Measured], query: Query | None = None) -> list[Drawing]:
    """Draw every figure that is asked for and that the cells allow; one that cannot be drawn is logged.

    Raises:
        RecordError: none can be drawn, with the reason of each; or something is asked for that there is not.
    """
    query = query or Query()
    query.check()
    drawn, refused = [], []
    cells = chosen(measured, query)
    with using(query.style):
        for name, figure_of in figures().items():
            if query.only and name not in query.only:
                continue
            try:
                if not cells.shown:
                    raise RecordError(f"no cell is complete and valid ({cells.note})" if cells.note else "no cells")
                figure, caption = figure_of(cells.shown)
            except RecordError as error:
                refused.append(f"{name}: {error}")
                continue
            drawn.append(finished(name, figure, caption, cells, query))
    if not drawn:
        raise RecordError(f"no figure can be drawn: {'; '.join(refused)}")
    for reason in refused:
        LOG.warning("figure left out: %s", reason)
    return drawn


def draw_or_why(measured: Sequence[Measured], query: Query | None = None) -> tuple[list[Drawing], str]:
    """The figures that the cells allow; none, and why, where nothing is valid."""
    try:
        return draw(measured, query), ""
    except RecordError as error:
        return [], str(error)


def save(folder: Path, drawings: Sequence[Drawing], kinds: Sequence[Kind] = ("png", "pdf")) -> list[Path]:
    """Write figures to `figures/`, or to a folder of their style in it: pictures, and the document beside them.

    A picture of another kind that is there already stays where it is of the same data, and is removed where it is not.
    """
    paths = []
    for drawing in drawings:
        style = drawing.query.style
        into = ExperimentFolder(folder).figures / ("" if style == DEFAULT_LOOK else style)
        pictures: dict[str, bytes] = {f"{drawing.name}.{kind}": getattr(drawing, kind) for kind in kinds}
        beside = sidecar(drawing.name, drawing.caption, drawing.query, drawing.cells, pictures)
        document = into / f"{drawing.name}.json"
        others = [f"{drawing.name}.{kind}" for kind in get_args(Kind) if kind not in kinds]
        beside = with_kept(beside, document, others)
        text = msgspec.json.format(msgspec.json.encode(beside), indent=2) + b"\n"
        for name, data in {**pictures, document.name: text}.items():
            paths.append(into / name)
            write_atomically(paths[-1], data)
    return paths


def finished(name: str, figure: Figure, caption: str, cells: Chosen, query: Query) -> Drawing:
    """Put the note under a figure, settle its labels, and make its files."""
    if _names_an_invalid_cell(figure) and not any(map(is_marked_invalid, figure.axes)):
        mark_invalid(figure.axes[0], cells.shown)
    if cells.note:
        remark(figure, cells.note)
    settle(figure)
    uses = [(one.cell, "shown") for one in cells.shown] + [(one.cell, "left out") for one in cells.refused]
    known = {id(cell) for cell, _ in uses}
    for one in cells.shown:
        if one.baseline is not None and id(one.baseline.cell) not in known:
            known.add(id(one.baseline.cell))
            uses.append((one.baseline.cell, "baseline"))
    return Drawing(name, f"{caption} {cells.note}".strip(), figure, query, uses)


def settle(figure: Figure) -> None:
    """Lay a figure out, then find a place for each label."""
    if (engine := figure.get_layout_engine()) is not None:
        engine.execute(figure)
    figure.set_layout_engine("none")
    labels.settle(figure)


def _names_an_invalid_cell(figure: Figure) -> bool:
    from matplotlib.text import Text

    return any(isinstance(text, Text) and INVALID in text.get_text() for text in figure.findobj(Text))
