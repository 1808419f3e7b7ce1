"""Every mode by its name: the testbed's own, and those of installed packages.

A package adds one by an entry point `NAME = "module:MODE"` in the group `testbed.modes`. `MODE` is a `Mode` whose facts
have that name. The package must be installed on both nodes and on the workstation. The testbed's own need nothing heavy
to be read, so that an experiment is checked at once.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from devices.base.plugins import with_plugins
from testbed.errors import ExperimentError
from testbed.modes.cloud_only import CloudOnly
from testbed.modes.co_inference import CoInference
from testbed.modes.edge_only import EdgeOnly
from testbed.modes.mode import Mode
from testbed.record.mode import ModeFacts

GROUP = "testbed.modes"
_SHIPPED: tuple[Mode, ...] = (EdgeOnly(), CloudOnly(), CoInference())
OWN: dict[str, Mode] = {mode.facts.name: mode for mode in _SHIPPED}


@functools.cache
def modes() -> Mapping[str, Mode]:
    """Name → mode; the packages installed are looked through once in a process.

    Raises:
        ExperimentError: what a package adds is no mode.
        TestbedError: it cannot be loaded, or takes a name that another has.
    """
    found = with_plugins(GROUP, OWN)
    for name, mode in found.items():
        _check(name, mode)
    return found


def mode_names() -> tuple[str, ...]:
    """The names that `mode:` may have in an experiment."""
    return tuple(modes())


def mode_named(name: str) -> Mode:
    """A mode.

    Raises:
        ExperimentError: there is none of that name.
    """
    if name not in modes():
        raise ExperimentError(f"no mode is named {name!r}; there is {', '.join(modes())}")
    return modes()[name]


def facts_of(name: str) -> ModeFacts:
    """What a mode is.

    Raises:
        ExperimentError: there is none of that name.
    """
    return mode_named(name).facts


def _check(name: str, mode: Any) -> None:
    facts = getattr(mode, "facts", None)
    whole = isinstance(facts, ModeFacts) and facts.name == name and callable(getattr(mode, "edge", None))
    if isinstance(mode, type) or not whole or not callable(getattr(mode, "cloud", None)):
        raise ExperimentError(
            f"the plug-in {name!r} of {GROUP} is no mode: it must be an object with facts of that name, edge and cloud "
            "(docs/extending.md)"
        )
