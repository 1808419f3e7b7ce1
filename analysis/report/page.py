"""The page: everything that it says, put together and written as one file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
import markupsafe

from analysis.figures.drawing import Drawing
from analysis.headline import Headline, headlines
from analysis.headline_table import caption, headline_table
from analysis.metrics.measured import Measured
from analysis.metrics.registry import metrics
from analysis.report.details import again, common, details
from analysis.report.inline import inlined, palette
from analysis.report.nodes import emulated_nodes, nodes
from analysis.report.results import results
from analysis.tables import energy_tables
from testbed.errors import RecordError
from testbed.record.layout import ExperimentFolder
from testbed.record.log import write_atomically

TEMPLATES = Path(__file__).parents[1] / "templates"

_DEFINED_HERE = (
    (
        "valid",
        "valid",
        "Whether the run passed its checks (throttling, sensor gaps, clock steps, the link against its target, idle "
        "drift). The data of an invalid cell are kept; the figures leave it out.",
    ),
    (
        "interval",
        "±, 95% interval",
        "Of a mean over repeats, Student's. Of an energy, combined from its parts, which add up as squares. Gain, "
        "offset and LSB (rounding) are the sensor's. Edges are what happened between samples and within one averaging "
        "time of the sensor at the ends of the window. Drift is half the difference of the idle baselines, repeats "
        "the spread between repeats. All but the last are systematic: more repeats do not shrink them. With one "
        "repeat there is no interval.",
    ),
    (
        "emulated",
        "emulated",
        "No such board was measured: what computing takes, and its power, come from a model. Accuracy, "
        "exits and bytes are exact all the same. Emulated and measured energies share no column and no axis.",
    ),
)
"""An id, a name and a meaning: what stands in the report and is no metric's."""


def write_report(folder: Path, measured: Sequence[Measured], drawings: Sequence[Drawing], no_figures: str = "") -> Path:
    """Write `report.html` into an experiment's results; it needs no other file and no network.

    Args:
        folder: the experiment's results.
        measured: its cells.
        drawings: its figures.
        no_figures: why there are none.

    Raises:
        RecordError: there are no cells.
    """
    if not measured:
        raise RecordError(f"{folder}: holds no measured cells")
    every = metrics()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["with_code"] = with_code
    cells = [one.cell for one in measured]
    newest = max((cell.manifest for cell in cells), key=lambda manifest: manifest.created)
    figures = [inlined(drawing) for drawing in drawings]
    commands, facts = again(cells)
    found = headlines(measured)
    html = environment.get_template("report.html.j2").render(
        experiment=newest.experiment,
        title=newest.title,
        dates=sorted({cell.manifest.created[:10] for cell in cells}),
        measured=measured,
        not_valid=[one for one in measured if not one.valid],
        emulated=emulated_nodes(cells),
        mixed=len({one.emulated for one in measured}) > 1,
        headlines=[(one, *_headline_table(one)) for one in found],
        headline_notes=caption(found) if found else [],
        results=results(measured, every),
        nodes=nodes(cells),
        energies=[(source, *one) for source, one in energy_tables(measured)],
        figures=figures,
        palette=palette(figures),
        no_figures=no_figures,
        common=common(cells),
        commands=commands,
        again=facts,
        cells=details(measured, every),
        definitions=[*((metric.name, metric.term, metric.definition) for metric in every), *_DEFINED_HERE],
    )
    path = ExperimentFolder(folder).report
    write_atomically(path, html.encode())
    return path


def with_code(text: str) -> markupsafe.Markup:
    """A text for the page, with `code` set as such."""
    parts = re.split(r"`([^`]+)`", text)
    set_as = (markupsafe.Markup("<code>{}</code>").format(part) if at % 2 else part for at, part in enumerate(parts))
    return markupsafe.Markup("").join(set_as)


def _headline_table(one: Headline) -> tuple[list[str], list[list[str]]]:
    """The table of one headline without its data set and backbone, which are in its title."""
    headers, rows = headline_table([one])
    kept = [at for at, header in enumerate(headers) if header not in ("data set", "backbone")]
    return [headers[at] for at in kept], [[row[at] for at in kept] for row in rows]
