"""The errors a user is meant to read: the root, which `devices` shares, and small subclasses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devices.base.errors import TestbedError as TestbedError


class ExperimentError(TestbedError):
    """An experiment or recipe file says something that cannot be run."""


class ModelError(TestbedError):
    """A model artefact is missing, damaged, or lacks what the experiment asks of it."""


class OutdatedModelError(ModelError):
    """A model artefact was written by another version of the testbed; exporting it again mends that."""


class DataError(TestbedError):
    """A data set is missing or unusable."""


class DeployError(TestbedError):
    """A node could not be reached, or a worker could not be started on it."""


class CodeChangedError(DeployError):
    """The code that measures was edited while a campaign ran: what follows would be of another code than it says."""


class LoginError(DeployError):
    """Nobody could log in to a node; `ssh` by hand shows why."""


class FolderError(DeployError):
    """A node's folder for the testbed is full, cannot be written, or cannot run programs."""


class ConnectionLost(TestbedError):  # noqa: N818
    """The connection to a node broke; the next repeat makes a new one."""


class LinkError(TestbedError):
    """A message could not be sent, received or trusted."""


class WorkerError(TestbedError):
    """A worker reported a fault, died, or fell silent."""


class RecordError(TestbedError):
    """Results on disk are missing, damaged or of another schema."""


class DiskError(RecordError):
    """Results cannot be written: the disk is full, read-only, or not ours. What is there already stays."""

    @classmethod
    def of(cls, path: object, error: OSError) -> DiskError:
        """What the kernel said of a file or folder that was to be written."""
        then = "choose another --results, then testbed run goes on from here"
        place = Path(str(path))
        for each in (place, *place.parents):
            if each.is_symlink() and not each.exists():
                return cls(
                    f"{path}: cannot be written: {each} is a link to {each.readlink()}, which is not there; mount or "
                    f"make it, remove the link, or {then}"
                )
        return cls(f"{path}: cannot be written: {error.strerror}; make room or {then}")


class NodeFailures(TestbedError):  # noqa: N818  (several errors, not one)
    """Several nodes failed at the same step; the message names each with its own reason."""

    def __init__(self, doing: str, failures: Mapping[Any, BaseException]) -> None:
        self.failures = dict(failures)
        super().__init__(f"{doing} failed on several nodes: " + "; ".join(map(str, self.failures.values())))
