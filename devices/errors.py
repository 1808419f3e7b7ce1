"""The one error of this package; callers turn it into theirs, with the node's name."""

from __future__ import annotations


class DeviceError(Exception):
    """A device, its profile or one of its sensors cannot do what is asked; the text says why."""
