"""Verbs about links: what one does, beside what its profile says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from testbed.cli.console import console, print_document, print_rows
from testbed.cli.options import AsJson
from testbed.cli.progress import working
from testbed.errors import TestbedError

if TYPE_CHECKING:
    from devices.links.spec import Way
    from testbed.drive.driven import Driven

BLANK = "–"


def link(
    which: Annotated[
        str, typer.Argument(help="a link that ships, a profile (*.yaml) or a trace (docs/links.md)", metavar="LINK")
    ],
    seconds: Annotated[int, typer.Option("--seconds", metavar="S", help="how long each direction is filled")] = 10,
    as_json: AsJson = False,
) -> None:
    """Drive a link over loopback and print what was asked for beside what was delivered."""
    from devices.links.load import load_link
    from testbed.drive.driven import MOST_SECONDS, drive

    if not 1 <= seconds <= MOST_SECONDS:
        raise TestbedError(f"--seconds {seconds}: expected 1 to {MOST_SECONDS}")
    loaded = load_link(which)
    with working(loaded.name) as say:
        driven = drive(loaded, seconds, lambda doing: say(f"{loaded.name}: {doing}"))
    if as_json:
        print_document(driven.document())
    else:
        _print(driven)


def _print(driven: Driven) -> None:
    console.print(f"{driven.link.name}: {driven.link.source}", highlight=False, markup=False)
    console.print()
    ways: tuple[Way, ...] = ("up", "down")
    rows = []
    for way in ways:
        asked, delivered = driven.asked[way], driven.delivered[way]
        rows += [
            [f"{way} rate, Mbit/s", _figure(asked.mbit_s), _figure(delivered.mbit_s)],
            [f"{way} delay p50, ms", _figure(asked.delay_p50_ms), _figure(delivered.delay_p50_ms)],
            [f"{way} delay p95, ms", _figure(asked.delay_p95_ms), _figure(delivered.delay_p95_ms)],
        ]
    print_rows(["", "asked", "delivered"], rows)
    console.print()
    headers = ["second"] + [f"{way} {what} [kB]" for way in ways for what in ("asked", "delivered")]
    each = [
        [_kilobytes(seen[way].bytes_per_s, second) for way in ways for seen in (driven.asked, driven.delivered)]
        for second in range(driven.seconds)
    ]
    print_rows(headers, [[str(second), *cells] for second, cells in enumerate(each)])


def _figure(value: float | None) -> str:
    return BLANK if value is None else f"{value:,.3f}"


def _kilobytes(each: list[int] | None, second: int) -> str:
    return BLANK if each is None else f"{each[second] / 1000:,.1f}"
