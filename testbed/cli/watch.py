"""The verb that shows a campaign while it runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from testbed.cli.console import console
from testbed.cli.options import ResultsFolder
from testbed.cli.progress import in_words

if TYPE_CHECKING:
    from testbed.campaign.live import AttemptNow, Seen, Watched

EVERY_S, EVERY_LINE_S = 1.0, 5.0
DAY_S = 86_400


def watch(
    folder: ResultsFolder,
    every: Annotated[
        float | None, typer.Option(min=0.2, max=3600, metavar="S", help="seconds between two looks: 1, in a log 5")
    ] = None,
) -> None:
    """Show a running campaign live: what is measured, how it goes, what is left. It reads, and disturbs nothing."""
    from testbed.campaign.live import Watched

    watched = Watched(folder)
    try:
        if console.is_terminal and not console.is_dumb_terminal:
            _show(folder, watched, every or EVERY_S)
        else:
            _lines(watched, every or EVERY_LINE_S)
    except KeyboardInterrupt:
        return


def _show(folder: Path, watched: Watched, every_s: float) -> None:
    seen = watched.look()
    with Live(_drawn(folder, seen), console=console, auto_refresh=False) as live:
        while seen.running:
            time.sleep(every_s)
            seen = watched.look()
            live.update(_drawn(folder, seen), refresh=True)


def _lines(watched: Watched, every_s: float) -> None:
    while True:
        seen = watched.look()
        text = f"{time.strftime('%F %T')} {line(seen)}"
        console.print(text, highlight=False, markup=False, soft_wrap=True)
        if not seen.running:
            return
        time.sleep(every_s)


def line(seen: Seen) -> str:
    """A campaign at one moment, in one line."""
    return "; ".join([_how_far(seen), *(text for _, text in facts(seen))])


def facts(seen: Seen) -> Iterator[tuple[str, str]]:
    """What there is to say of the attempt that was begun last: what each is, and its text."""
    now, attempt = seen.now, seen.attempt
    if now is not None and now.title:
        phase = f": {now.phase}" if now.phase else ""
        count = f" {now.done} of {now.total}" if now.total > 1 else ""
        yield "doing", f"{now.title}{phase}{count}"
        for node, what in now.steps.items():
            yield node, f"{node}: {what}"
    elif attempt is not None:
        yield "last", f"{attempt.label} ({attempt.repeat + 1}/{attempt.repeats})"
    if attempt is not None:
        yield from _measured(attempt)
    elif now is not None and now.phase == "measuring":
        yield "rows", "the rows of this repeat are not here; over SSH they come when it is over"


def _measured(attempt: AttemptNow) -> Iterator[tuple[str, str]]:
    yield "requests", f"{attempt.requests} requests of {attempt.wanted}, {attempt.failed} failed"
    if attempt.p50_ms is not None and attempt.p95_ms is not None:
        yield "latency", f"p50 {attempt.p50_ms:.1f} ms, p95 {attempt.p95_ms:.1f} ms"
    if attempt.exits:
        mean = sum(step * count for step, count in attempt.exits.items()) / sum(attempt.exits.values())
        each = " ".join(f"{step}:{count}" for step, count in attempt.exits.items())
        yield "exits", f"exit at {mean:.2f} ({each})"
    for (node, _, rail, scope), mw in sorted(attempt.power_mw.items()):
        yield "power", f"{node} {rail} {mw / 1000:.2f} W ({scope})"
    link = [] if attempt.rtt_ms is None else [f"RTT {attempt.rtt_ms:.1f} ms"]
    if attempt.up_mbit_s is not None and attempt.down_mbit_s is not None:
        link.append(f"up {attempt.up_mbit_s:.2f}, down {attempt.down_mbit_s:.2f} Mbit/s")
    if link:
        yield "link", ", ".join(link)
    for node, celsius in sorted(attempt.temperature_c.items()):
        yield "warmth", f"{node} {celsius:.0f} °C after its last repeat"


def _how_far(seen: Seen) -> str:
    text = f"{'running' if seen.running else 'not running'}, {seen.done} of {seen.of} repeats measured"
    if seen.left_s is not None:
        form = "%H:%M" if seen.left_s < DAY_S else "%F %H:%M"
        until = time.strftime(form, time.localtime(time.time() + seen.left_s))
        text += f", about {in_words(seen.left_s)} left, until {until}"
    return text


def _drawn(folder: Path, seen: Seen) -> Group:
    shown = Table(box=None, show_header=False, pad_edge=False)
    shown.add_column(style="bold", no_wrap=True)
    shown.add_column(overflow="fold")
    for what, text in facts(seen):
        shown.add_row(what, Text(text))
    cells = Table(box=None, header_style="bold", pad_edge=False)
    for header in ("cell", "repeats", ""):
        cells.add_column(header, no_wrap=header == "repeats")
    room = max(3, console.height - shown.row_count - 6)
    # Where not all fit, what is still to do is what somebody waits for.
    listed = seen.cells if len(seen.cells) <= room else [cell for cell in seen.cells if cell.done < cell.repeats][:room]
    for cell in listed:
        cells.add_row(Text(cell.label), f"{cell.done} of {cell.repeats}", cell.ended)
    if len(listed) < len(seen.cells):
        cells.add_row(f"and {len(seen.cells) - len(listed)} more", "", "")
    return Group(Text(f"{folder.name}: {_how_far(seen)}", style="bold"), shown, Text(), cells)
