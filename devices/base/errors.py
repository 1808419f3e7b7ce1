"""The root of all errors that a user is meant to read, and the one error of `devices`.

A message says what was being done, to which node, what was seen and what to do. The command
line prints it as one line and exits non-zero; anything that is not a `TestbedError` is a bug and
keeps its traceback.
"""

from __future__ import annotations


class TestbedError(Exception):
    """Root of all errors that a user can act on."""

    __test__ = False  # pytest collects classes named Test*


class DeviceError(TestbedError):
    """A device, its profile or one of its sensors cannot do what is asked; callers add the node's name."""
