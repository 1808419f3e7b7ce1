"""What a metric is: one kind of number drawn from a cell, with its names, its unit and its words in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from analysis.metrics.measured import Measured

V = TypeVar("V")
V_contra = TypeVar("V_contra", contravariant=True)

Line = tuple[str, str]
"""A name and a text of the report's details of a cell."""


@dataclass(frozen=True)
class Column(Generic[V_contra]):
    """A column of `summary.csv`; `field` takes it from a cell's value, and None leaves it blank.

    `unit` is what the numbers are in; blank where they are none.
    """

    name: str
    unit: str
    field: Callable[[V_contra], float | str | None]


@dataclass(frozen=True)
class Heading(Generic[V_contra]):
    """A column of the tables for people.

    With `only`, it shows the cells for which that holds, and is left out of a table in which there are none. With
    `when`, it is left out of a table in which that holds of none of the cells that it would show.
    """

    header: str
    text: Callable[[V_contra], str]
    only: Callable[[V_contra], bool] | None = None
    when: Callable[[V_contra], bool] | None = None

    def shows(self, value: V_contra | None) -> bool:
        """Whether it says something of a cell with this value."""
        return value is not None and (self.only is None or self.only(value))


def no_lines(_: object) -> list[Line]:
    """Details of a metric that has none."""
    return []


@dataclass(frozen=True, kw_only=True)
class Metric(Generic[V]):
    """One metric. Its file's docstring is its definition, in the words of the report and of `docs/metrics.md`.

    Attributes:
        name: what it is called in the registry.
        term: what it is called in the report's definitions.
        doc: the docstring of its file.
        of: its value of a cell; None where it does not apply. A `RecordError` becomes the cell's problem.
        needs: the metrics that `of` asks the cell for; they are measured before.
        compares: whether `of` looks at the cell's baseline; then every cell's own metrics come first.
        columns: its columns of `summary.csv`.
        headings: its columns of the tables.
        details: its lines of the report's details of a cell.
    """

    name: str
    term: str
    doc: str | None
    of: Callable[[Measured], V | None]
    needs: tuple[Metric[Any], ...] = ()
    compares: bool = False
    columns: tuple[Column[V], ...] = ()
    headings: tuple[Heading[V], ...] = ()
    details: Callable[[V], list[Line]] = no_lines

    @property
    def definition(self) -> str:
        """The definition as one paragraph."""
        return " ".join((self.doc or "").split())
