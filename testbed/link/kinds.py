"""What a data frame may be, and the error of one that is not; light, so that a mode can name it at once."""

from __future__ import annotations

from enum import IntEnum

from testbed.errors import LinkError


class Kind(IntEnum):
    """What a frame carries, and which way it goes."""

    STEP = 1
    """Edge to cloud: the code of one timestep."""
    INPUT = 2
    """Edge to cloud: the raw input; the cloud runs everything."""
    END = 3
    """Edge to cloud: the request is over early, its state may go."""
    RESULT = 4
    """Cloud to edge: how long the cloud took, and logits."""
    REFUSED = 5
    """Cloud to edge: a short reason in UTF-8."""
    PROBE = 6
    """Edge to cloud: answer at once with so many bytes; whatever follows the number is ballast."""
    ECHO = 7
    """Cloud to edge: the ballast that a probe asked for."""
    STEPS = 8
    """Edge to cloud: the codes of several timesteps in a row."""


class FrameError(LinkError):
    """A frame that cannot be taken; `reason` is a slug for the event log."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)
