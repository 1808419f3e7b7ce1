"""Arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from devices.base.plugins import use_files
from testbed.cli.console import readable
from testbed.errors import TestbedError

ExperimentFiles = Annotated[
    list[Path], typer.Argument(help="one experiments/*.yaml, or several", metavar="EXPERIMENT.yaml…")
]
RecipeFile = Annotated[Path, typer.Argument(help="an experiments/train/*.yaml", metavar="RECIPE.yaml")]
ResultsFolder = Annotated[Path, typer.Argument(help="the results of one experiment", metavar="RESULTS/EXPERIMENT")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="override a key of the file")]
Edge = Annotated[Path | None, typer.Option("--edge", metavar="FILE", help="the device that plays the edge")]
Cloud = Annotated[Path | None, typer.Option("--cloud", metavar="FILE", help="the device that plays the cloud")]
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="PATH", help="where the data set lies: folder or archive (docs/datasets.md)"),
]
Results = Annotated[Path, typer.Option("--results", metavar="DIR", help="where results are kept")]
AsJson = Annotated[
    bool, typer.Option("--json", help="print one JSON document (docs/json.md); progress goes to standard error")
]
ExitPolicy = Annotated[str, typer.Option("--policy", help="max_softmax, entropy, margin, or one of a plug-in")]
ExitAccumulate = Annotated[str, typer.Option("--accumulate", help="mean or sum of the logits; sums sharpen with t")]


def _use(paths: list[Path] | None) -> list[Path] | None:
    readable(use_files)(paths or [])
    return paths


Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE.py",
        callback=_use,
        help="a file that adds something, as in an experiment's `plugins`; may be given several times",
    ),
]
"""What these files add is in use once the command line is read."""


def check_exit(policy: str, accumulate: str) -> None:
    """Refuse an exit policy, or a way to accumulate logits, that there is not.

    Raises:
        TestbedError: there is none of that name.
    """
    from testbed.record.exits import Accumulate, policy_names

    if policy not in policy_names() or accumulate not in get_args(Accumulate):
        policies, ways = " or ".join(policy_names()), " or ".join(get_args(Accumulate))
        raise TestbedError(f"no exit policy {policy} of the {accumulate}: --policy {policies}, --accumulate {ways}")
