"""Every mode by its name. What is read here needs nothing heavy, so that an experiment is checked at once."""

from __future__ import annotations

from testbed.errors import ExperimentError
from testbed.modes.cloud_only import CloudOnly
from testbed.modes.co_inference import CoInference
from testbed.modes.edge_only import EdgeOnly
from testbed.modes.mode import Mode
from testbed.record.mode import ModeFacts

_SHIPPED: tuple[Mode, ...] = (EdgeOnly(), CloudOnly(), CoInference())
MODES: dict[str, Mode] = {mode.facts.name: mode for mode in _SHIPPED}


def mode_names() -> tuple[str, ...]:
    """The names that `mode:` may have in an experiment."""
    return tuple(MODES)


def mode_named(name: str) -> Mode:
    """A mode.

    Raises:
        ExperimentError: there is none of that name.
    """
    if name not in MODES:
        raise ExperimentError(f"no mode is named {name!r}; there is {', '.join(MODES)}")
    return MODES[name]


def facts_of(name: str) -> ModeFacts:
    """What a mode is.

    Raises:
        ExperimentError: there is none of that name.
    """
    return mode_named(name).facts
