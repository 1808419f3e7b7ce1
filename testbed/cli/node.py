"""Verbs about nodes: whether they can measure, and logs that they left."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from testbed.cli.console import EXIT_FAILED, complain, console, print_document
from testbed.cli.options import AsJson, Plugins
from testbed.cli.progress import NodeStatus

CHECK_COLUMN = len("power: tegrastats")


def check(
    devices: Annotated[list[Path], typer.Argument(help="devices/*.yaml", metavar="DEVICE.yaml...")],
    plugins: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """See whether nodes can measure what their profiles promise, and what to do where they cannot."""
    from msgspec import to_builtins

    from testbed.check import check as run_check

    nodes = []
    with NodeStatus("Looking at") as status:
        for node in run_check(devices, status.node, status.step):
            nodes.append(node)
            if not as_json:
                _print_check(node)
    if as_json:
        print_document({"nodes": [{"node": node.node, "ready": not node.failed} | to_builtins(node) for node in nodes]})
    failed = [node.node for node in nodes if node.failed]
    if failed:
        complain(f"not ready to measure: {', '.join(failed)}", style="red")
        raise typer.Exit(EXIT_FAILED)


def clean(
    devices: Annotated[list[Path], typer.Argument(help="devices/*.yaml", metavar="DEVICE.yaml...")],
    runs: Annotated[
        bool, typer.Option("--runs", help="also what runs recorded there that were lost, and nobody fetched")
    ] = False,
) -> None:
    """Remove what the testbed keeps on nodes: environments, models, samples, code. The next run sends it again."""
    from testbed.clean import clean as run_clean

    refused = []
    with NodeStatus("Cleaning") as status:
        for node in run_clean(devices, runs=runs, on_node=status.node, step=status.step):
            for line in _cleaned_lines(node):
                console.print(line, highlight=False, markup=False, soft_wrap=True)
            if node.refused:
                complain(node.refused, style="red")
                refused.append(node.node)
    if refused:
        complain(f"not cleaned: {', '.join(refused)}", style="red")
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


def _cleaned_lines(node: Any) -> Iterator[str]:
    """What was removed from one node, and what was not."""
    from testbed.deploy.cache import in_words

    if node.done is None:
        return
    done = node.done
    if node.local:
        yield f"{node.node}: this machine; nothing is kept on it as a node, only what it sends to nodes over SSH"
    if done.removed:
        total = sum(gone.size_bytes for gone in done.removed.values()) / 1e6
        yield f"{node.node}: removed {total:.1f} MB from {done.root}: {in_words(done.removed)}"
    else:
        yield f"{node.node}: nothing to remove in {done.root}"
    for path, size_bytes in done.lost.items():
        size = size_bytes / 1e6
        yield f"{node.node}: kept {path}: {size:.1f} MB that a lost run recorded and nobody fetched; --runs removes it"
    for journal in done.changed:
        yield f"{node.node}: a setting is left changed, see {journal}; testbed check puts it back"


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
