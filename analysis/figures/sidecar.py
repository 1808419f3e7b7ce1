"""The document beside each figure: which cells, asked for how, drawn with what; and whether that still holds."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec
from msgspec.structs import replace

from analysis.figures.choose import Query, selected
from testbed.errors import RecordError
from testbed.record.layout import CellFolder, ExperimentFolder
from testbed.record.reader import Cell, read_cell, read_document
from testbed.record.tables import TABLES
from testbed.version import VERSION

SCHEMA = 1
_PACKAGES = ("matplotlib", "numpy", "pandas")


class CellOfFigure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cell that a figure follows from.

    `use` is `shown`, `left out` where it is not fit to be shown, or `baseline` where it is compared with and not asked
    for. `sha256` is of its documents and tables.
    """

    cell: str
    label: str
    use: str
    sha256: str


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of a figure, as `Query` has it."""

    style: str
    cells: list[str]
    labels: dict[str, str]
    include_invalid: bool


class Sidecar(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`NAME.json` beside `NAME.pdf`. `files` has the hash of each picture by its name."""

    figure_schema: int
    figure: str
    experiment: str
    caption: str
    query: Asked
    cells: list[CellOfFigure]
    versions: dict[str, str]
    files: dict[str, str]


def asked(query: Query) -> Asked:
    """A query as a document."""
    return Asked(
        style=query.style,
        cells=list(query.cells),
        labels=dict(query.labels),
        include_invalid=query.include_invalid,
    )


def versions() -> dict[str, str]:
    """What draws: the testbed, the interpreter and the libraries."""
    found = {"testbed": VERSION, "python": platform.python_version()}
    return found | {package: version(package) for package in _PACKAGES}


def sidecar(
    name: str, caption: str, query: Query, uses: Iterable[tuple[Cell, str]], pictures: Mapping[str, bytes]
) -> Sidecar:
    """The document of a figure of these cells."""
    cells = list(uses)
    return Sidecar(
        figure_schema=SCHEMA,
        figure=name,
        experiment=cells[0][0].manifest.experiment if cells else "",
        caption=caption,
        query=asked(query),
        cells=[
            CellOfFigure(cell=cell.manifest.cell, label=cell.manifest.label, use=use, sha256=digest(cell.folder))
            for cell, use in cells
        ],
        versions=versions(),
        files={file: hashlib.sha256(data).hexdigest() for file, data in pictures.items()},
    )


def with_kept(beside: Sidecar, document: Path, others: Iterable[str]) -> Sidecar:
    """The document with the other pictures of the figure that were drawn from the same; any other is removed."""
    try:
        before = read_document(document, Sidecar)
    except RecordError:
        before = None
    same = before is not None and replace(before, files={}) == replace(beside, files={})
    kept = {name: before.files[name] for name in others if before and same and name in before.files}
    for name in others:
        if name not in kept:
            document.with_name(name).unlink(missing_ok=True)
    return replace(beside, files={**beside.files, **kept})


def digest(folder: Path) -> str:
    """The hash of a cell's documents and tables; logs and what tables were made from are not in it."""
    cell, total = CellFolder(folder), hashlib.sha256()
    for path in (cell.manifest, cell.status, cell.clock, cell.events, *(cell.table(name) for name in TABLES)):
        if path.exists():
            total.update(f"{path.name} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def check(folder: Path) -> dict[Path, list[str]]:
    """For the sidecar of each figure of an experiment's results, why the figure no longer follows from the data.

    Raises:
        RecordError: there is no figure with a sidecar.
    """
    paths = sorted(ExperimentFolder(folder).figures.rglob("*.json"))
    if not paths:
        raise RecordError(f"{ExperimentFolder(folder).figures}: holds no figure with a document beside it; draw them")
    cells = [_readable(found) for found in ExperimentFolder(folder).cells()]
    there = [cell for cell in cells if cell is not None]
    digests = {
        cell.manifest.cell: digest(cell.folder) for cell in there if CellFolder(cell.folder).table("requests").exists()
    }
    return {path: _why(path, there, digests) for path in paths}


def _why(path: Path, there: Sequence[Cell], digests: Mapping[str, str]) -> list[str]:
    try:
        told = read_document(path, Sidecar)
    except RecordError as error:
        return [str(error)]
    reasons, known = [], {cell.manifest.cell for cell in there}
    for each in told.cells:
        if each.cell not in known:
            reasons.append(f"cell {each.cell} ({each.label}) is gone")
        elif each.cell not in digests:
            reasons.append(f"cell {each.cell} ({each.label}) has no tables here, so nobody can tell")
        elif digests[each.cell] != each.sha256:
            reasons.append(f"cell {each.cell} ({each.label}) has other data than the figure was drawn from")
    try:
        wanted = selected(there, told.query.cells)
    except RecordError as error:
        return [*reasons, str(error)]
    drawn = {each.cell for each in told.cells}
    reasons += [
        f"cell {cell.manifest.cell} ({cell.manifest.label}) was not there when it was drawn"
        for cell in wanted
        if cell.manifest.cell not in drawn
    ]
    for name, sha256 in told.files.items():
        picture = path.with_name(name)
        if not picture.exists():
            reasons.append(f"{name} is gone")
        elif hashlib.sha256(picture.read_bytes()).hexdigest() != sha256:
            reasons.append(f"{name} was changed after it was drawn")
    return reasons


def _readable(found: CellFolder) -> Cell | None:
    """A cell whose documents can be read; None for another, which no figure shows."""
    try:
        return read_cell(found.path)
    except RecordError:
        return None
