"""Verbs about nodes: whether they can measure, and logs that they left."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from testbed.cli.console import EXIT_FAILED, complain, console

CHECK_COLUMN = len("power: tegrastats")


def check(
    devices: Annotated[list[Path], typer.Argument(help="devices/*.yaml", metavar="DEVICE.yaml...")],
) -> None:
    """See whether nodes can measure what their profiles promise, and what to do where they cannot."""
    from testbed.check import check as run_check

    failed = []
    with console.status("") as status:
        for node in run_check(devices, lambda path: status.update(f"Looking at {path}")):
            _print_check(node)
            failed += [node.node] if node.failed else []
    if failed:
        complain(f"not ready to measure: {', '.join(failed)}", style="red")
        raise typer.Exit(EXIT_FAILED)


def convert(
    log: Annotated[Path, typer.Argument(help="a log of tegrastats; - is standard input", metavar="FILE.log")],
) -> None:
    """Turn a tegrastats log of any L4T release into JSON lines on standard output."""
    from testbed.convert import convert as run_convert

    done = run_convert(log, sys.stdout.fileno())
    if done.foreign:
        complain(
            f"{log}: {done.foreign} of {done.lines} lines are not tegrastats', the first is line {done.first_foreign}"
        )


def _print_check(node: Any) -> None:
    """One node's lines; what to do stands below what was seen."""
    table = Table(
        title=Text(node.node, style="bold"), title_justify="left", box=None, show_header=False, pad_edge=False
    )
    styles = {"ok": "green", "warning": "yellow", "failed": "bold red"}
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, min_width=CHECK_COLUMN)
    table.add_column(overflow="fold")
    for line in node.lines:
        seen = Text(line.seen) if not line.fix else Text(f"{line.seen}\n→ {line.fix}")
        table.add_row(Text(line.state, style=styles[line.state]), line.what, seen)
    console.print(table)
    console.print()
