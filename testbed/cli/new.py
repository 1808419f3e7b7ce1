"""The verb that writes files to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from testbed.cli.console import console
from testbed.errors import TestbedError

KINDS = ("experiment", "device", "recipe")
NEXT = {"experiment": "testbed plan", "device": "testbed check", "recipe": "testbed train"}


def new(
    kind: Annotated[
        str,
        typer.Argument(help="experiment, device or recipe", metavar="KIND", autocompletion=lambda: list(KINDS)),
    ],
    path: Annotated[
        Path | None,
        typer.Argument(
            help="the file to write; default: my-KIND.yaml, in experiments/, experiments/train/ or devices/ if there",
            metavar="[PATH]",
        ),
    ] = None,
    like: Annotated[
        str | None, typer.Option(metavar="NAME", help="of a device: a profile that ships, devices/NAME.yaml")
    ] = None,
) -> None:
    """Write a commented file to start from; never over one that is there."""
    from testbed.starts import DEVICE, write_start

    if kind not in KINDS:
        raise TestbedError(f"nothing new is called {kind!r}: {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    if like is not None and kind != "device":
        raise TestbedError(f"--like is for a device, not for a new {kind}")
    written = write_start(kind, path, like or DEVICE)  # type: ignore[arg-type]
    console.print(f"{written}; change what is marked <-, then: {NEXT[kind]} {written}", highlight=False, soft_wrap=True)
