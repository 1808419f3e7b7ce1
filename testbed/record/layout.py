"""Where everything under `results/` lies: the one owner of its names.

ROOT/models, bundles, data, reference    what no experiment may be named after
ROOT/EXPERIMENT/CELL/raw/repeat-NN/attempt-NNN/NODE/TABLE.jsonl    what the nodes appended
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

RESERVED = ("models", "bundles", "data", "reference")
"""Folders under results/ that are not an experiment's."""


_OF_A_CELL = ("manifest.json", "status.json", "raw")


@dataclass(frozen=True)
class AttemptFolder:
    """One try at one repeat. Each participant's worker has a folder of its own in it."""

    path: Path

    @property
    def record(self) -> Path:
        """Says that all was measured, and is written last: an attempt without it was interrupted or failed."""
        return self.path / "attempt.json"

    @property
    def failure(self) -> Path:
        """Says why the attempt failed, if it did."""
        return self.path / "failure.json"

    def rows(self, node: str, table: str) -> Path:
        """The rows of a table as the worker of a participant appended them."""
        return self.path / node / f"{table}.jsonl"

    def all_rows(self, table: str) -> list[Path]:
        """The rows of a table of every participant, in the order of their ids."""
        return sorted(self.path.glob(f"*/{table}.jsonl"))


@dataclass(frozen=True)
class CellFolder:
    """One cell: its documents, its tables, and in `raw` what they were made from."""

    path: Path

    @property
    def manifest(self) -> Path:
        """What decided the cell's numbers."""
        return self.path / "manifest.json"

    @property
    def status(self) -> Path:
        """How the cell ended; written last."""
        return self.path / "status.json"

    @property
    def clock(self) -> Path:
        """The nodes' clocks against the orchestrator's."""
        return self.path / "clock.json"

    @property
    def events(self) -> Path:
        """Phases and incidents."""
        return self.path / "events.jsonl"

    @property
    def logs(self) -> Path:
        """What workers printed."""
        return self.path / "logs"

    def table(self, name: str) -> Path:
        """A table of the cell's rows."""
        return self.path / f"{name}.parquet"

    def attempts(self, repeat: int) -> list[AttemptFolder]:
        """The tries at a repeat, the first one first."""
        return [AttemptFolder(path) for path in sorted(self._repeat(repeat).glob("attempt-*"))]

    def next_attempt(self, repeat: int) -> AttemptFolder:
        """The folder of a try that has not been made; it is not there yet."""
        return AttemptFolder(self._repeat(repeat) / f"attempt-{len(self.attempts(repeat)):03d}")

    def _repeat(self, repeat: int) -> Path:
        return self.path / "raw" / f"repeat-{repeat:02d}"


@dataclass(frozen=True)
class ExperimentFolder:
    """The results of one experiment: its cells, and what is made of them all."""

    path: Path

    def cell(self, name: str) -> CellFolder:
        """The folder of a cell."""
        return CellFolder(self.path / name)

    def cells(self) -> list[CellFolder]:
        """The cells that were begun, also where the manifest that says so was lost."""
        begun = {path.parent for name in _OF_A_CELL for path in self.path.glob(f"[!.]*/{name}")}
        return [CellFolder(path) for path in sorted(begun)]

    @property
    def lock(self) -> Path:
        """Held by the process that writes here."""
        return self.path / ".lock"

    @property
    def present(self) -> Path:
        """What the process that writes here is doing; there only while it does."""
        return self.path / ".present.json"

    @property
    def previous(self) -> Path:
        """Where results lie that were moved out of the way."""
        return self.path / ".previous"

    @property
    def summary(self) -> Path:
        """A row for each cell."""
        return self.path / "summary.csv"

    @property
    def report(self) -> Path:
        """One file with everything."""
        return self.path / "report.html"

    @property
    def figures(self) -> Path:
        """The figures, each as PNG and PDF."""
        return self.path / "figures"

    @property
    def tables(self) -> Path:
        """The tables, each as Markdown and LaTeX."""
        return self.path / "tables"


@dataclass(frozen=True)
class ResultsFolder:
    """All results: of experiments, and what they share."""

    root: Path

    @property
    def models(self) -> Path:
        """Trained networks and their artefacts."""
        return self.root / "models"

    @property
    def bundles(self) -> Path:
        """The evaluation samples that edges are given."""
        return self.root / "bundles"

    @property
    def data(self) -> Path:
        """Prepared data sets."""
        return self.root / "data"

    def experiment(self, name: str) -> ExperimentFolder:
        """The folder of an experiment."""
        return ExperimentFolder(self.root / name)
