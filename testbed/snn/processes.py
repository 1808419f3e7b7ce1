"""The processes that train together: started here by Lightning on one machine, or from outside by torchrun or Slurm."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import lightning
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.rank_zero import rank_zero_only

from testbed.errors import TestbedError

# Lightning's notices of what it found and of its own services; what matters here is said by this program.
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
logging.getLogger("lightning.fabric").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Hardware:
    """What to train on: Lightning's accelerator, devices (one process each) on every node, and nodes."""

    accelerator: str = "auto"
    devices: int | Literal["auto"] = "auto"
    nodes: int = 1


@dataclass(frozen=True)
class Group:
    """The processes that train together, and this one's place among them."""

    fabric: lightning.Fabric
    hardware: Hardware

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return self.fabric.global_rank

    @property
    def size(self) -> int:
        """How many processes there are."""
        return self.fabric.world_size

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.fabric.is_global_zero

    def wait_for_all(self) -> None:
        """Go on when every process has come here."""
        self.fabric.barrier()

    def trainer(self, plugins: list[Any], **options: Any) -> lightning.Trainer:
        """A Lightning trainer for one fit on these processes."""
        if SLURMEnvironment.detect():
            # Its requeueing saves within an epoch, from where the batches could not go on.
            plugins = [*plugins, SLURMEnvironment(auto_requeue=False)]
        return lightning.Trainer(
            accelerator=self.hardware.accelerator,
            devices=self.hardware.devices,
            num_nodes=self.hardware.nodes,
            plugins=plugins,
            **options,
        )


@contextmanager
def together(hardware: Hardware) -> Iterator[Group]:
    """Start the processes, or find those that were started, and wait until all are here.

    Lightning starts a process by running this program's command line again; it comes here as well, knowing its
    rank. Where this process fails, those that it started end with it.

    Raises:
        TestbedError: there is no such hardware, or other processes were started than the hardware says.
    """
    hardware = _as_started(hardware)
    try:
        fabric = lightning.Fabric(accelerator=hardware.accelerator, devices=hardware.devices, num_nodes=hardware.nodes)
        started = _started_outside()
        if started not in (None, fabric.world_size):
            raise TestbedError(
                f"{started} processes were started, but --devices and --nodes make {fabric.world_size} of them"
            )
        fabric.launch()
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        raise TestbedError(
            f"cannot train on accelerator {hardware.accelerator}, devices {hardware.devices}, nodes {hardware.nodes}: "
            + " ".join(str(error).split())
        ) from error
    try:
        yield Group(fabric, hardware)
    except BaseException:
        children = getattr(fabric.strategy.launcher, "procs", [])
        for child in children:
            child.kill()  # in the middle of a collective operation nothing else is heard
            child.wait()
        children.clear()  # Lightning's observer would kill this process for their exit codes
        raise


def is_first_process() -> bool:
    """Whether this process is, as far as its environment tells, the one of those that train together that writes."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0


def _as_started(hardware: Hardware) -> Hardware:
    """Under torchrun the number of devices need not be given again."""
    if TorchElasticEnvironment.detect() and hardware.devices == "auto":
        size, on_this_node = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
        return replace(hardware, devices=on_this_node, nodes=size // on_this_node)
    return hardware


def _started_outside() -> int | None:
    """How many processes torchrun or Slurm started; None where Lightning is to start them."""
    if TorchElasticEnvironment.detect():
        return int(os.environ["WORLD_SIZE"])
    return int(os.environ["SLURM_NTASKS"]) if SLURMEnvironment.detect() else None
