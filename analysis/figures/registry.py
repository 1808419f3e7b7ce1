"""Every figure by its name. To add one is to add a file and a line here, or an entry point of `testbed.figures`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from analysis.figures.calibration import calibration
from analysis.figures.energy import energy
from analysis.figures.exit_histogram import exit_histogram
from analysis.figures.exits import exits
from analysis.figures.latency_cdf import latency_cdf
from analysis.figures.links import links
from analysis.figures.load import load
from analysis.figures.network import network
from analysis.figures.power import power
from analysis.figures.rate_accuracy import rate_accuracy
from analysis.figures.stages import stages
from analysis.figures.tradeoff import tradeoff
from analysis.figures.traffic import traffic
from analysis.metrics.measured import Measured
from devices.base.plugins import called, with_plugins
from testbed.errors import RecordError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from analysis.curves import Curves

Draw: TypeAlias = "Callable[[Sequence[Measured]], tuple[Figure, str]]"
"""Draws cells; returns the figure and its caption, or raises `RecordError` where they do not allow it."""

DrawModels: TypeAlias = "Callable[[Sequence[Curves]], tuple[Figure, str]]"
"""Draws evaluated models, likewise."""

GROUP = "testbed.figures"
FIGURES: dict[str, Draw] = {
    "tradeoff": tradeoff,
    "stages": stages,
    "latency_cdf": latency_cdf,
    "energy": energy,
    "power": power,
    "traffic": traffic,
    "exits": exits,
    "exit_histogram": exit_histogram,
    "calibration": calibration,
    "links": links,
    "load": load,
    "network": network,
}

OF_MODELS: dict[str, DrawModels] = {"rate_accuracy": rate_accuracy}
"""Figures of models without nodes, drawn of what `testbed evaluate` wrote."""


def figures() -> dict[str, Draw]:
    """The testbed's figures and those of packages and files.

    Raises:
        TestbedError: an added figure cannot be loaded, draws nothing, or takes a name that is the testbed's own.
    """
    every = with_plugins(GROUP, FIGURES)
    for name, draw in every.items():
        if not callable(draw):
            raise RecordError(f"{called(GROUP, name)} is no function that draws; name one")
    return every
