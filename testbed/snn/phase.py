"""One phase of training as a Lightning module: the loss, the optimiser and its schedule."""

from __future__ import annotations

import copy
import math
from typing import Any

import lightning
import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from testbed.snn.losses import bits_per_element, distillation, rate_distance
from testbed.snn.network import Network
from testbed.snn.neurons import fuse
from testbed.snn.recipe import Recipe
from testbed.snn.strides import StridesBefore
from testbed.snn.training_spec import PhaseSpec

WARMUP_SHARE = 0.05
"""Share of a phase's steps over which the learning rate rises from zero."""

JOB_KEY = "job"
"""Where a checkpoint says which of the recipe's jobs it is of."""


class Phase(lightning.LightningModule):
    """Trains one network in one phase, which is a recipe's `job` of that number.

    `teacher` gives the answers that the phase distils: the uncut network, or another recipe's. It runs for
    `teacher_timesteps`, or for as many as the phase trains with. `uncut` is the recipe's trained backbone, where the
    phase matches its firing rates.
    """

    def __init__(
        self,
        recipe: Recipe,
        phase: PhaseSpec,
        network: Network,
        teacher: Network | None,
        job: int,
        teacher_timesteps: int | None = None,
        uncut: Network | None = None,
    ) -> None:
        super().__init__()
        self._recipe, self._phase, self.job = recipe, phase, job
        self.network = network
        # In a list, so that it is neither trained nor checkpointed with the network.
        self._teacher, self._uncut = (
            [] if known is None else [copy.deepcopy(known).eval().requires_grad_(False)] for known in (teacher, uncut)
        )
        self._teacher_timesteps = teacher_timesteps
        self.network.backbone.requires_grad_(phase.train != "codec")
        for unmoved in self._frozen() + network.skipped():
            unmoved.requires_grad_(False)

    def timesteps_of(self, epoch: int) -> int:
        """T that an epoch trains with."""
        return self._recipe.timesteps if self._phase.timesteps is None else self._phase.timesteps[epoch]

    def cost_of(self, epoch: int, other: int) -> float:
        """How much more arithmetic an epoch has than another one: in proportion to T and to the area of its crops."""

        def size(number: int) -> float:
            return self.timesteps_of(number) * (1 if self._phase.crops is None else self._phase.crops[number] ** 2)

        return size(epoch) / size(other)

    def on_fit_start(self) -> None:
        """Move what it learns from beside the network, and turn on the compiled neurons."""
        for known in self._teacher + self._uncut:
            known.to(self.device)
            known.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        fuse(self.network, self._recipe.training.fused)
        self._strides = StridesBefore(self.network)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say whose checkpoint it is."""
        checkpoint[JOB_KEY] = self.job

    def on_fit_end(self) -> None:
        """Leave SpikingJelly's own neurons behind."""
        fuse(self.network, False)
        self._strides.undo()
        self.network.backbone.requires_grad_(True)

    def on_train_epoch_start(self) -> None:
        """Batch norm of what is frozen keeps the statistics that its layers were trained with."""
        self.network.train()
        if self._phase.train == "codec":
            self.network.backbone.eval()
        for segment in self._frozen():
            segment.eval()

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> dict[str, Tensor]:
        """Loss of one batch, with the logits [T, N, K] for the progress bar and the log."""
        inputs, labels = batch
        timesteps = self.timesteps_of(self.current_epoch)
        network, code = self.network, None
        left: dict[str, Tensor] = {}
        current = network.currents(inputs, timesteps)
        if network.split is None:
            logits = network.backbone(current).float()
        else:
            code = network.edge(current)
            logits = network.behind(code, left).float()
        smoothing = self._recipe.training.label_smoothing
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels.repeat(timesteps), label_smoothing=smoothing)
        if self._phase.distill is not None:
            teacher = self._teacher[0]
            with torch.no_grad():
                wanted = teacher(inputs, self._teacher_timesteps or timesteps).float().mean(0)
            loss = loss + self._phase.distill.weight * distillation(logits, wanted, self._phase.distill)
            functional.reset_net(teacher)
        detail = {}
        if code is not None:
            rate = code.float().mean()
            detail["code_rate"] = rate.detach()
            if network.bottleneck is not None:
                loss = loss + self._costs(code, rate)
            loss = loss + self._mismatch(inputs, left)
        functional.reset_net(network)
        return {"loss": loss, "logits": logits.detach(), "labels": labels, **detail}

    def _costs(self, code: Tensor, rate: Tensor) -> Tensor:
        """What the code's spikes and bits cost."""
        cost = torch.zeros_like(rate)
        for spec, value in ((self._phase.spike_rate, rate), (self._phase.entropy, bits_per_element(code))):
            if spec is not None:
                cost = cost + spec.weight * torch.relu(value - spec.target)
        return cost

    def _mismatch(self, inputs: Tensor, left: dict[str, Tensor]) -> Tensor | float:
        """What firing rates cost that are not those of the uncut network; `left` is what leaves each segment."""
        spec = self._phase.match
        names = [] if spec is None else [name for name in left if name in (spec.segments or left)]
        if spec is None or not names:
            return 0.0
        uncut = self._uncut[0]
        wanted: dict[str, Tensor] = {}
        with torch.no_grad():
            currents = uncut.currents(inputs, len(left[names[0]]))
            uncut.backbone.after("", currents, left=wanted)
        functional.reset_net(uncut)
        return spec.weight * rate_distance([left[name] for name in names], [wanted[name] for name in names])

    def _frozen(self) -> list[nn.Module]:
        return [part for name in self._phase.frozen for part in self.network.backbone.layers_of(name)]

    def configure_optimizers(self) -> Any:
        """The optimiser, with the learning rate rising over the first steps and falling as a cosine to zero."""
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        training, lr = self._recipe.training, self._phase.lr
        optimizer: torch.optim.Optimizer
        if training.optimizer is None:
            optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=training.weight_decay)
        else:
            optimizer = torch.optim.SGD(
                trained, lr=lr, momentum=training.optimizer.momentum, weight_decay=training.weight_decay, nesterov=True
            )
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_share(step / steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def learning_rate_share(done: float) -> float:
    """Share of the phase's learning rate after a share `done` of its steps."""
    if done < WARMUP_SHARE:
        return done / WARMUP_SHARE
    return 0.5 * (1.0 + math.cos(math.pi * (done - WARMUP_SHARE) / (1.0 - WARMUP_SHARE)))
