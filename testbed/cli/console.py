"""What the terminal shows: results on standard output; errors, notes and progress on standard error.

So `testbed VERB --json > FILE` holds one document and nothing else, however long the verb takes.
"""

from __future__ import annotations

import errno
import functools
import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ParamSpec

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from testbed.errors import TestbedError

P = ParamSpec("P")
EXIT_FAILED, EXIT_ABORTED = 1, 130
TABLE_COLUMNS = 300

_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO})
"""Whatever is written meets these; they are nobody's mistake."""

console = Console()
"""What was asked for."""
errors = Console(stderr=True)
"""What went wrong; never silenced."""
notes = Console(stderr=True)
"""What goes on meanwhile; `--quiet` silences it."""


def hush(quiet: bool) -> None:
    """What `--quiet` does: no notes and no progress; results and errors stay."""
    notes.quiet = notes.quiet or quiet


def watched() -> bool:
    """Whether somebody sees a line that changes; a log takes only what is new."""
    return notes.is_terminal and not notes.is_dumb_terminal


def note(text: str) -> None:
    """A line about what goes on; with its time where it goes to a log, such as that of cron or Slurm."""
    when = "" if watched() else time.strftime("%F %T ")
    notes.print(f"{when}{text}", highlight=False, markup=False, soft_wrap=True)


class Notices(logging.Handler):
    """What the testbed logs, as notes; above the bars where there are any."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print it."""
        note(record.getMessage())


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


def print_document(document: Mapping[str, Any]) -> None:
    """What `--json` prints: one JSON document on standard output, indented, in UTF-8.

    Numbers that are not finite have no place in JSON; they become null, as what was not measured is.
    """
    sys.stdout.write(json.dumps(_plain(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if type(value).__module__ == "numpy":  # a number of a table's row
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_rows(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Plain data as a table; a narrow terminal wraps whole lines, never single cells."""
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for number, header in enumerate(headers):
        # One word a line keeps the columns as narrow as their numbers.
        name = Text(header.replace(" ", "\n"))  # not markup: "[ms]" is a unit
        shown.add_column(name, no_wrap=True, justify="right" if number else "left", vertical="bottom")
    for row in rows:
        shown.add_row(*map(Text, row))
    wanted = Measurement.get(console, console.options.update(max_width=TABLE_COLUMNS), shown).maximum
    Console(width=max(console.width, wanted)).print(shown)
