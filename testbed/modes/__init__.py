"""How a request is answered, a file for each way. Nothing else in the testbed asks which mode a cell has."""

from testbed.modes.registry import facts_of, mode_named, mode_names

__all__ = ["facts_of", "mode_named", "mode_names"]
