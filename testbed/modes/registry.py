"""Every mode by its name. What is read here needs nothing heavy, so that an experiment is checked at once."""

from __future__ import annotations

from testbed.errors import ExperimentError
from testbed.modes import cloud_only, co_inference, edge_only
from testbed.record.mode import ModeFacts

MODES: dict[str, ModeFacts] = {facts.name: facts for facts in (edge_only.FACTS, cloud_only.FACTS, co_inference.FACTS)}


def mode_names() -> tuple[str, ...]:
    """The names that `mode:` may have in an experiment."""
    return tuple(MODES)


def facts_of(name: str) -> ModeFacts:
    """What a mode is.

    Raises:
        ExperimentError: there is none of that name.
    """
    if name not in MODES:
        raise ExperimentError(f"no mode is named {name!r}; there is {', '.join(MODES)}")
    return MODES[name]
