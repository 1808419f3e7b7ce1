"""What the terminal shows: errors as one line, progress bars, tables."""

from __future__ import annotations

import errno
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import ParamSpec

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from testbed.errors import TestbedError

P = ParamSpec("P")
EXIT_FAILED, EXIT_ABORTED = 1, 130
TABLE_COLUMNS = 300

_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO})
"""Whatever is written meets these; they are nobody's mistake."""

console = Console()
errors = Console(stderr=True)


def complain(message: str, style: str | None = None) -> None:
    """One line on standard error, in the name of the command."""
    errors.print(f"testbed: {message}", style=style, highlight=False, markup=False, soft_wrap=True)


def readable(command: Callable[P, None]) -> Callable[P, None]:
    """Errors that a user can act on are one line, not a traceback."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except TestbedError as error:
            complain(str(error), style="red")
            raise typer.Exit(EXIT_FAILED) from error
        except OSError as error:
            if error.errno not in _OF_THE_DISK:
                raise
            complain(f"{error.filename or 'what was made'}: cannot be written: {error.strerror}", style="red")
            raise typer.Exit(EXIT_FAILED) from error

    return run


def progress(*, transient: bool = False) -> Progress:
    """Bars that say what is done, how much of it, and how long the rest takes."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=transient)


class Bars:
    """Progress of a campaign: one bar over its attempts, one over the present attempt."""

    def __init__(self) -> None:
        self._progress = progress(transient=True)
        self._all: TaskID | None = None
        self._one: TaskID | None = None
        self._title = ""

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def message(self, text: str) -> None:
        """A line above the bars."""
        self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def attempt(self, number: int, of: int, title: str) -> None:
        """An attempt begins."""
        if self._all is None or self._one is None:
            self._all = self._progress.add_task("repeats", total=of)
            self._one = self._progress.add_task(title)
        self._title = title
        self._progress.update(self._all, completed=number - 1, total=of)

    def phase(self, name: str, done: int, total: int) -> None:
        """How far the attempt's present phase is."""
        if self._one is not None:
            self._progress.update(self._one, description=f"{self._title}: {name}", completed=done, total=max(total, 1))


def print_rows(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Plain data as a table; a narrow terminal wraps whole lines, never single cells."""
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for number, header in enumerate(headers):
        # One word a line keeps the columns as narrow as their numbers.
        name = Text(header.replace(" ", "\n"))  # not markup: "[ms]" is a unit
        shown.add_column(name, no_wrap=True, justify="right" if number else "left", vertical="bottom")
    for row in rows:
        shown.add_row(*row)
    wanted = Measurement.get(console, console.options.update(max_width=TABLE_COLUMNS), shown).maximum
    Console(width=max(console.width, wanted)).print(shown)
