"""What is said and written while a phase trains: progress, divergence, a row of training.csv for every epoch."""

from __future__ import annotations

import contextlib
import csv
import math
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from testbed.data.datasets import Samples
from testbed.errors import ModelError
from testbed.record.log import write_atomically
from testbed.snn.accuracy import accuracy_per_timestep
from testbed.snn.budget import Budget, OutOfTimeError
from testbed.snn.recipe import Recipe
from testbed.snn.training_spec import PhaseSpec

REPORT_EVERY = 10
"""Steps between two looks at the loss: each waits for the GPU and asks all processes."""


KEEPING_SHARE = 0.1
"""The most of the time that may go into writing checkpoints; on a fast GPU not every epoch is worth one."""


@dataclass(frozen=True)
class Progress:
    """Where training is, for progress bars: `loss` of the last steps, `accuracy` of the epoch so far."""

    network: str
    phase: str
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float


Report: TypeAlias = Callable[[Progress], None]


class Epochs(Callback):
    """Follows one phase of a network. `rows_before` is how many epochs the phases before it had."""

    def __init__(
        self,
        recipe: Recipe,
        name: str,
        phase: PhaseSpec,
        validation: Samples,
        table: Path,
        rows_before: int,
        report: Report,
    ) -> None:
        self._recipe, self._name, self._phase = recipe, name, phase
        self._validation, self._table, self._rows_before, self._report = validation, table, rows_before, report
        self._interrupted = False

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Forget rows of epochs that are trained again, because no checkpoint followed them."""
        if trainer.is_global_zero:
            keep_rows(self._table, self._rows_before + trainer.current_epoch)
        if threading.current_thread() is threading.main_thread():
            # Lightning would go on to the end of a step in which processes that were not asked to stop hang.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._interrupt)

    def _interrupt(self, *_: object) -> None:
        self._interrupted = True
        raise KeyboardInterrupt

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Begin the sums of loss, right answers and code rate; they stay on the device."""
        self._started = time.monotonic()
        self._sums = torch.zeros(3, device=pl_module.device)
        self._loss = self._accuracy = self._rate = 0.0
        self._looked_at = 0, 0.0

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Sum up; at every tenth step and the last, look.

        Raises:
            KeyboardInterrupt: it came before, where no exception gets through, such as in what a library calls back.
            ModelError: the loss is not finite, in any process.
        """
        if self._interrupted:
            raise KeyboardInterrupt
        right = (outputs["logits"].mean(0).argmax(-1) == outputs["labels"]).sum()
        rate = outputs.get("code_rate", torch.zeros_like(self._sums[2]))
        self._sums += torch.stack([outputs["loss"].detach().float(), right.float(), rate.float()])
        step, steps = batch_idx + 1, int(trainer.num_training_batches)
        if step % REPORT_EVERY and step != steps:
            return
        total: Any = trainer.strategy.reduce(self._sums.clone(), reduce_op="sum")
        loss, correct, code = total.tolist()
        if not math.isfinite(loss):
            raise ModelError(
                f"training of {self._name} diverged in phase {self._phase.train}, "
                f"epoch {trainer.current_epoch + 1}: lower its lr"
            )
        at, before = self._looked_at
        self._looked_at = step, loss
        self._loss, self._rate = (value / step / trainer.world_size for value in (loss, code))
        self._accuracy = correct / step / self._recipe.training.batch_size
        if not trainer.is_global_zero:
            return
        recent = (loss - before) / (step - at) / trainer.world_size
        for logger in trainer.loggers:
            logger.log_metrics({"loss": recent, "train_accuracy": self._accuracy}, trainer.global_step)
        epoch, epochs = trainer.current_epoch + 1, self._phase.epochs
        self._report(Progress(self._name, self._phase.train, epoch, epochs, step, steps, recent, self._accuracy))

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Validate and write the epoch's row, before the checkpoint that makes it last."""
        if not trainer.is_global_zero:
            return
        seconds = time.monotonic() - self._started
        network = pl_module.network
        # A CPU validates in float32: bf16 saves it nothing there.
        on_gpu = pl_module.device.type == "cuda"
        with trainer.precision_plugin.forward_context() if on_gpu else contextlib.nullcontext():
            validation = accuracy_per_timestep(network, self._validation, self._recipe.timesteps)
        row = {
            "network": self._name,
            "phase": self._phase.train,
            "epoch": trainer.current_epoch + 1,
            "timesteps": pl_module.timesteps_of(trainer.current_epoch),
            "loss": round(self._loss, 5),
            "train_accuracy": round(self._accuracy, 5),
            "code_rate": "" if network.split is None else round(self._rate, 5),
            "validation_accuracy_first": round(validation[0], 5),
            "validation_accuracy": round(validation[-1], 5),
            "seconds": round(seconds, 1),
        }
        append_row(self._table, row)
        reached = {"validation_accuracy": validation[-1], "validation_accuracy_first": validation[0]}
        for logger in trainer.loggers:
            logger.log_metrics(reached, trainer.global_step)


class Keeper(ModelCheckpoint):
    """Lightning's checkpoint of the last epoch, but for those that ended too soon after the one before.

    An epoch after which the budget allows no other one is kept however soon it ended.

    Attributes:
        epoch_s: how long the last epoch took, validation included.
    """

    def __init__(self, folder: Path, name: str, budget: Budget) -> None:
        super().__init__(folder, name, save_on_train_epoch_end=True, enable_version_counter=False)
        self.epoch_s = self._took_s = self._kept_at = self._began_at = 0.0
        self._budget = budget

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Note when."""
        self._began_at = time.monotonic()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Keep the epoch, if that takes little of the time that training takes, or nothing follows.

        Raises:
            OutOfTimeError: another epoch would take too long.
        """
        ended_at = time.monotonic()
        self.epoch_s = ended_at - self._began_at
        done, wanted = trainer.current_epoch + 1, trainer.max_epochs
        ends = done < wanted and not self._budget.allows(self.epoch_s * pl_module.cost_of(done, done - 1))
        too_soon = ended_at - self._kept_at < self._took_s / KEEPING_SHARE
        # Every process waits for the others when it keeps one, so the first one's clock decides for all.
        keeps, ends = trainer.strategy.broadcast((ends or not too_soon, ends))
        if keeps:
            super().on_train_epoch_end(trainer, pl_module)
            self._kept_at = time.monotonic()
            self._took_s = self._kept_at - ended_at
        if ends:
            raise OutOfTimeError(f"{done} of {wanted} epochs")


def append_row(table: Path, row: dict[str, object]) -> None:
    """Append a row to a CSV file, which begins with the columns' names."""
    new = not table.exists()
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if new:
            writer.writeheader()
        writer.writerow(row)


def keep_rows(table: Path, count: int) -> None:
    """Cut a CSV file after `count` whole rows, where there are more or the last one is torn."""
    if not table.exists():
        return
    lines = table.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines[: 1 + count] if line.endswith(b"\n")]
    if kept != lines:
        write_atomically(table, b"".join(kept))
