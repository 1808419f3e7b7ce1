"""The verb that gives results to others: an archive, or a tracker of experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from testbed.cli.console import console
from testbed.cli.options import ResultsFolder
from testbed.errors import TestbedError

Crate = Annotated[
    Path | None,
    typer.Option("--ro-crate", metavar="DIR", help="a folder that can be archived and cited (Process Run Crate 0.5)"),
]
Mlflow = Annotated[
    str | None, typer.Option("--mlflow", metavar="URI|DIR", help="log each cell as a run of this MLflow tracker")
]
Authors = Annotated[
    list[str] | None,
    typer.Option("--author", metavar="'NAME, ORCID'", help="of the crate; default: those of CITATION.cff"),
]
License = Annotated[
    str | None,
    typer.Option("--license", metavar="SPDX|URL", help="of the crate; default: that of CITATION.cff"),
]
Citation = Annotated[Path, typer.Option("--citation", metavar="FILE", help="says author and licence where you do not")]


def export(
    folder: ResultsFolder,
    ro_crate: Crate = None,
    mlflow: Mlflow = None,
    author: Authors = None,
    license_: License = None,
    citation: Citation = Path("CITATION.cff"),
) -> None:
    """Write results as an RO-Crate, or log them to MLflow; neither names a home folder or a host."""
    if ro_crate is None and mlflow is None:
        raise TestbedError("export whereto? Say --ro-crate DIR, --mlflow URI, or both")
    if ro_crate is not None:
        _write_crate(folder, ro_crate, author or [], license_, citation)
    if mlflow is not None:
        _log_runs(folder, mlflow)


def _write_crate(folder: Path, out: Path, people: list[str], name: str | None, citation: Path) -> None:
    from analysis.export.crate import write_crate
    from analysis.export.people import authors, licence

    path = write_crate(folder, out, authors(people, citation), licence(name, citation))
    console.print(str(path / "ro-crate-metadata.json"), highlight=False, soft_wrap=True)


def _log_runs(folder: Path, where: str) -> None:
    from analysis.export.runs import log_runs

    console.print(f"{len(log_runs(folder, where))} runs in {where}", highlight=False, soft_wrap=True)
