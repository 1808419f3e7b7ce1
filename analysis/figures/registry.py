"""Every figure by its name. To add one is to add a file and a line here, or an entry point of `testbed.figures`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from analysis.figures.exits import exits
from analysis.figures.power import power
from analysis.figures.stages import stages
from analysis.figures.tradeoff import tradeoff
from analysis.metrics.measured import Measured
from devices.base.plugins import with_plugins
from testbed.errors import RecordError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw: TypeAlias = "Callable[[Sequence[Measured]], tuple[Figure, str]]"
"""Draws cells; returns the figure and its caption, or raises `RecordError` where they do not allow it."""

FIGURES: dict[str, Draw] = {"tradeoff": tradeoff, "stages": stages, "power": power, "exits": exits}


def figures() -> dict[str, Draw]:
    """The testbed's figures and those of installed packages.

    Raises:
        TestbedError: a package's figure cannot be loaded, draws nothing, or takes a name that is the testbed's own.
    """
    every = with_plugins("testbed.figures", FIGURES)
    for name, draw in every.items():
        if not callable(draw):
            raise RecordError(f"entry point {name!r} of testbed.figures is no function that draws; name one")
    return every
