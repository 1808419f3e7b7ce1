"""The verbs in the order in which `testbed --help` shows them, and the command that is made of them."""

from __future__ import annotations

import logging
from collections.abc import Callable

import typer

from testbed.cli import measure, model, node, results
from testbed.cli.console import readable

VERBS: dict[str, Callable[..., None]] = {
    "run": measure.run,
    "plan": measure.plan,
    "check": node.check,
    "train": model.train,
    "evaluate": model.evaluate,
    "show": results.show,
    "figures": results.figures,
    "tables": results.tables,
    "report": results.report,
    "replay": results.replay,
    "calibrate": model.calibrate,
    "convert": node.convert,
}

app = typer.Typer(
    help="Energy, latency, accuracy and traffic of spiking edge-cloud co-inference, measured.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _name, _verb in VERBS.items():
    app.command(_name)(readable(_verb))


def main() -> None:
    """Entry point of the `testbed` command."""
    notices = logging.StreamHandler()
    notices.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger("testbed").addHandler(notices)
    logging.getLogger("testbed").setLevel(logging.INFO)  # such as the minutes that preparing a data set takes
    app()
