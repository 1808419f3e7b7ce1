"""The verbs in the order in which `testbed --help` shows them, and the command that is made of them."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Annotated, Any

import typer

from testbed.cli import compare, export, importing, link, measure, model, new, node, plan, replay, results, watch
from testbed.cli.console import Notices, hush, readable
from testbed.version import VERSION

VERBS: dict[str, Callable[..., None]] = {
    "run": measure.run,
    "plan": plan.plan,
    "watch": watch.watch,
    "check": node.check,
    "clean": node.clean,
    "splits": model.splits,
    "train": model.train,
    "evaluate": model.evaluate,
    "import": importing.import_pair,
    "show": results.show,
    "figures": results.figures,
    "tables": results.tables,
    "report": results.report,
    "export": export.export,
    "replay": replay.replay,
    "compare": compare.compare,
    "calibrate": model.calibrate,
    "convert": node.convert,
    "link": link.link,
    "new": new.new,
}

Quiet = Annotated[bool, typer.Option("--quiet", help="print results and errors alone, no progress")]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _with_quiet(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb with `--quiet`, which every verb has."""
    quiet = inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Quiet)

    @functools.wraps(verb)
    def run(*args: Any, quiet: bool, **kwargs: Any) -> None:
        hush(quiet)
        verb(*args, **kwargs)

    signature = inspect.signature(verb, eval_str=True)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), quiet])  # type: ignore[attr-defined]
    return run


for _name, _verb in VERBS.items():
    app.command(_name)(_with_quiet(readable(_verb)))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"testbed {VERSION}")
        raise typer.Exit


@app.callback()
def _testbed(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Energy, latency, accuracy and traffic of spiking edge-cloud co-inference, measured."""


def main() -> None:
    """Entry point of the `testbed` command."""
    logging.getLogger("testbed").addHandler(Notices())
    logging.getLogger("testbed").setLevel(logging.INFO)  # such as the minutes that preparing a data set takes
    app()
