"""The verbs in the order in which `testbed --help` shows them, and the command that is made of them."""

from __future__ import annotations

import functools
import inspect
import logging
import math
from collections.abc import Callable
from typing import Annotated, Any, get_args

import typer
from typer.models import OptionInfo

from testbed.cli import compare, export, importing, link, measure, model, new, node, plan, replay, results, watch
from testbed.cli.console import Notices, hush, readable
from testbed.errors import TestbedError
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


def _finite(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb, which refuses infinite numbers and `nan`, which ranges let pass in some versions of Typer."""
    parameters = inspect.signature(verb, eval_str=True).parameters

    @functools.wraps(verb)
    def run(*args: Any, **kwargs: Any) -> None:
        for key, value in kwargs.items():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, float) and not math.isfinite(one):
                    raise TestbedError(f"{_option(key, parameters[key])} {one}: expected a finite number")
        verb(*args, **kwargs)

    return run


def _option(key: str, parameter: inspect.Parameter) -> str:
    """What a parameter of a verb is called on the command line."""
    # The first word given to an Option in an `Annotated` is its name, though Typer calls it the default.
    names = [one.default for one in get_args(parameter.annotation) if isinstance(one, OptionInfo)]
    return next((name for name in names if isinstance(name, str)), f"--{key.replace('_', '-')}")


def guarded(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb as the command has it: with `--quiet`, no number that is none, and errors that are a line."""
    return _with_quiet(readable(_finite(verb)))


for _name, _verb in VERBS.items():
    app.command(_name)(guarded(_verb))


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
