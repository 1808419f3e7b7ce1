"""Every mode by its name. What is read here needs nothing heavy, so that an experiment is checked at once.

A package adds one by an entry point `NAME = "module:MODE"` in the group `testbed.modes`. `MODE` is a `Mode` whose facts
have that name. The package must be installed on both nodes and on the workstation. A file (devices/base/plugins.py) is
sent there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from devices.base.plugins import called, registry, with_plugins
from testbed.errors import ExperimentError
from testbed.modes.cloud_only import CloudOnly
from testbed.modes.co_inference import CoInference
from testbed.modes.edge_only import EdgeOnly
from testbed.modes.mode import Mode
from testbed.record.mode import ModeFacts

GROUP = "testbed.modes"
_IN_ORDER: tuple[Mode, ...] = (EdgeOnly(), CloudOnly(), CoInference())
MODES: dict[str, Mode] = {mode.facts.name: mode for mode in _IN_ORDER}


@registry
def modes() -> Mapping[str, Mode]:
    """Name → mode, the testbed's own first; what others add is looked for once.

    Raises:
        ExperimentError: what somebody adds is no mode.
        TestbedError: it cannot be loaded, or takes a name that is the testbed's own.
    """
    found = with_plugins(GROUP, MODES)
    for name, mode in found.items():
        if not _is_mode(name, mode):
            raise ExperimentError(
                f"{called(GROUP, name)} is no mode: it must be an object with `facts`, a ModeFacts with "
                f"name={name!r}, and with edge and cloud (docs/extending.md)"
            )
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


def _is_mode(name: str, mode: Any) -> bool:
    facts = getattr(mode, "facts", None)
    halves = all(callable(getattr(mode, half, None)) for half in ("edge", "cloud"))
    return isinstance(facts, ModeFacts) and facts.name == name and halves and not isinstance(mode, type)
