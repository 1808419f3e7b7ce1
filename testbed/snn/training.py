"""Training of a recipe on Lightning: phases over one backbone and its variants, checkpointed at every epoch.

`progress.json` says which (network, phase) jobs are done, each network's weights lie beside it, and Lightning's own
checkpoint holds the job that is running: a training that is started again goes on from its last whole epoch.
"""

from __future__ import annotations

import csv
import ctypes
import logging
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import lightning
import msgspec
import numpy as np
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from spikingjelly.activation_based import functional

from testbed.data.datasets import Dataset, Samples
from testbed.errors import DataError, ModelError
from testbed.record.log import write_json
from testbed.snn.backbones import Backbone, resnet18, vgg16
from testbed.snn.batches import Augmentation, Batches
from testbed.snn.checkpoint import FULL, SafetensorsIO, load_weights, save_weights
from testbed.snn.network import Bottleneck, Network, Normalize
from testbed.snn.neurons import Neuron
from testbed.snn.phase import Phase
from testbed.snn.recipe import PhaseSpec, Recipe, recipe_digest

PHASE_NAME = "phase"
"""Lightning's checkpoint of the phase that is being trained, rewritten after every epoch."""

STATISTICS_SAMPLES = 5000
"""Inputs, evenly spaced over the training set, whose pixels give the normalisation."""

REPORT_EVERY = 10

PRECISION: dict[str, Any] = {"bf16": "bf16-mixed", "fp16": "16-mixed", "fp32": "32-true"}


@dataclass(frozen=True)
class Progress:
    """Where training is, for progress bars and logs."""

    network: str
    phase: str
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float


Report: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True)
class Hardware:
    """What to train on: Lightning's accelerator, devices on each node, and nodes (torchrun and Slurm are noticed)."""

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int | Literal["auto"] = "auto"
    nodes: int = 1


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far training got: jobs are the (network, phase) pairs in order."""

    recipe: str
    jobs_done: int = 0
    trained: list[str] = []


def build(recipe: Recipe, dataset: Dataset) -> dict[str, Network]:
    """The recipe's untrained networks: `full`, and one per variant, cut and with its bottleneck.

    Raises:
        DataError: the data set's event frames are not as many as the recipe's timesteps.
    """
    inputs = dataset.train.images
    if inputs.ndim == 5 and inputs.shape[1] != recipe.timesteps:
        raise DataError(f"{dataset.name}: {inputs.shape[1]} frames, but the recipe has {recipe.timesteps} timesteps")
    torch.manual_seed(recipe.training.seed)
    sample = inputs[:: max(1, len(inputs) // STATISTICS_SAMPLES)].astype(np.float64) / 255.0
    axes = tuple(axis for axis in range(sample.ndim) if axis != sample.ndim - 3)
    mean, std = sample.mean(axis=axes), sample.std(axis=axes)
    spec = recipe.backbone
    lif = Neuron(spec.tau, spec.surrogate.name, spec.surrogate.alpha)
    backbone = _backbone(recipe, len(dataset.classes), lif)
    full = Network(Normalize(torch.tensor(mean), torch.tensor(std)), backbone)
    networks = {FULL: full}
    for name, variant in recipe.variants.items():
        bottleneck = None
        if variant.bottleneck is not None:
            feature = recipe.feature_shape(variant)
            bottleneck = Bottleneck(feature[0], *variant.bottleneck.resolve(feature), lif)
        networks[name] = full.cut(variant.split, bottleneck)
    return networks


def _backbone(recipe: Recipe, classes: int, lif: Neuron) -> Backbone:
    spec, channels = recipe.backbone, recipe.dataset.channels
    if spec.name == "vgg16":
        return vgg16(spec.width, channels, classes, lif)
    return resnet18(spec.width, channels, classes, lif, spec.shortcut or "membrane")


def train(
    recipe: Recipe, dataset: Dataset, folder: Path, report: Report, hardware: Hardware = Hardware()
) -> dict[str, Network]:
    """Train everything that the recipe asks for, from the last checkpoint in `folder` if there is one.

    Returns:
        The trained networks by name, on the CPU and in evaluation mode.

    Raises:
        ModelError: the checkpoint in `folder` is of another recipe, or training diverged.
        DataError: the data set does not fit the recipe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _keep_freed_memory()
    networks = build(recipe, dataset)
    progress = _read_progress(folder, recipe_digest(recipe))
    for name in progress.trained:
        load_weights(networks[name], folder / f"{name}.safetensors")
    jobs = [(FULL, phase) for phase in recipe.training.phases if phase.train == "backbone"]
    for name, variant in recipe.variants.items():
        if variant.bottleneck is not None:
            jobs += [(name, phase) for phase in recipe.training.phases if phase.train != "backbone"]
    for number, (name, phase) in enumerate(jobs):
        if number < progress.jobs_done:
            continue
        if name != FULL and name not in progress.trained:
            networks[name].backbone.load_state_dict(networks[FULL].backbone.state_dict())
        teacher = networks[FULL] if phase.distill is not None else None
        trainer = _run_phase(recipe, networks[name], name, number, phase, teacher, dataset, folder, report, hardware)
        progress = Checkpoint(
            recipe=progress.recipe, jobs_done=number + 1, trained=sorted({*progress.trained, name})
        )
        if trainer.is_global_zero:
            save_weights(networks[name], folder / f"{name}.safetensors")
            write_json(folder / "progress.json", progress)
            (folder / f"{PHASE_NAME}.ckpt").unlink(missing_ok=True)
    return {name: network.cpu().eval() for name, network in networks.items()}


def accuracy_per_timestep(network: Network, samples: Samples, timesteps: int, batch: int = 128) -> list[float]:
    """Accuracy of the mean logits after each timestep 1..T."""
    network.eval()
    device = next(network.parameters()).device
    correct = torch.zeros(timesteps, dtype=torch.int64)
    with torch.inference_mode():
        for start in range(0, len(samples), batch):
            inputs = torch.from_numpy(samples.images[start : start + batch]).to(device)
            labels = torch.from_numpy(samples.labels[start : start + batch]).to(device)
            correct += (network(inputs, timesteps).cumsum(0).argmax(-1) == labels).sum(1).cpu()
            functional.reset_net(network)
    return [int(count) / len(samples) for count in correct]


def _run_phase(
    recipe: Recipe,
    network: Network,
    name: str,
    number: int,
    phase: PhaseSpec,
    teacher: Network | None,
    dataset: Dataset,
    folder: Path,
    report: Report,
    hardware: Hardware,
) -> lightning.Trainer:
    training, size = recipe.training, recipe.dataset.image_size
    if len(dataset.train) < training.batch_size:
        raise DataError(f"{dataset.name}: {len(dataset.train)} training samples are fewer than a batch")
    module = Phase(recipe, phase, network, teacher)
    batches = Batches(
        dataset.train,
        training.batch_size,
        Augmentation(training.crop_padding, training.flip),
        epoch=lambda: trainer.current_epoch,
        side=lambda epoch: size if phase.crops is None else phase.crops[epoch],
        seed=(training.seed, number),
    )
    keeper = ModelCheckpoint(folder, PHASE_NAME, save_on_train_epoch_end=True, enable_version_counter=False)
    with warnings.catch_warnings():
        # Lightning warns of its own and torch's internals, and of a checkpoint folder that is meant to be there.
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            num_nodes=hardware.nodes,
            max_epochs=phase.epochs,
            precision=PRECISION[training.precision],
            gradient_clip_val=1.0,
            callbacks=[_Epochs(recipe, name, phase, dataset.validation, folder, batches, report), keeper],
            plugins=[SafetensorsIO()],
            logger=TensorBoardLogger(folder, "tensorboard", version=f"{number}-{name}-{phase.train}"),
            log_every_n_steps=1,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )
        if training.batch_size % trainer.world_size:
            raise DataError(f"a batch of {training.batch_size} cannot be shared by {trainer.world_size} devices")
        latest = folder / f"{PHASE_NAME}.ckpt"
        trainer.fit(module, batches, ckpt_path=str(latest) if latest.exists() else None)
    network.cpu()
    return trainer


class _Epochs(Callback):
    """Reports steps, stops what diverges, and writes a row of training.csv for each epoch."""

    def __init__(
        self,
        recipe: Recipe,
        name: str,
        phase: PhaseSpec,
        validation: Samples,
        folder: Path,
        batches: Batches,
        report: Report,
    ) -> None:
        self._recipe, self._name, self._phase = recipe, name, phase
        self._validation, self._folder, self._batches, self._report = validation, folder, batches, report

    def setup(self, trainer: lightning.Trainer, pl_module: Any, stage: str) -> None:
        self._batches.rank, self._batches.world = trainer.global_rank, trainer.world_size

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self._started = time.monotonic()
        self._loss = torch.zeros((), dtype=torch.float64)
        self._correct = self._rate = self._loss.clone()
        self._steps = self._seen = 0

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._loss = self._loss + outputs["loss"].detach().double().cpu()
        self._correct = self._correct + (outputs["logits"].mean(0).argmax(-1) == outputs["labels"]).sum().cpu()
        self._rate = self._rate + outputs.get("code_rate", torch.zeros(())).double().cpu()
        self._steps += 1
        self._seen += len(outputs["labels"])
        if self._steps % REPORT_EVERY and self._steps != len(self._batches):
            return
        loss = outputs["loss"].item()
        if not math.isfinite(loss):
            raise ModelError(
                f"training of {self._name} diverged in phase {self._phase.train}, "
                f"epoch {trainer.current_epoch + 1}: lower its lr"
            )
        accuracy = self._correct.item() / self._seen
        pl_module.log_dict({"loss": loss, "train_accuracy": accuracy})
        self._report(
            Progress(
                self._name,
                self._phase.train,
                trainer.current_epoch + 1,
                self._phase.epochs,
                self._steps,
                len(self._batches),
                loss,
                accuracy,
            )
        )

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        seconds = time.monotonic() - self._started
        network = pl_module.network
        validation = accuracy_per_timestep(network, self._validation, self._recipe.timesteps)
        row = {
            "network": self._name,
            "phase": self._phase.train,
            "epoch": trainer.current_epoch + 1,
            "timesteps": pl_module.timesteps_of(trainer.current_epoch),
            "loss": round(self._loss.item() / self._steps, 5),
            "train_accuracy": round(self._correct.item() / self._seen, 5),
            "code_rate": "" if network.split is None else round(self._rate.item() / self._steps, 5),
            "validation_accuracy_first": round(validation[0], 5),
            "validation_accuracy": round(validation[-1], 5),
            "seconds": round(seconds, 1),
        }
        _append_row(self._folder / "training.csv", row)
        trainer.logger.log_metrics(  # type: ignore[union-attr]
            {"validation_accuracy": validation[-1], "validation_accuracy_first": validation[0]}, trainer.global_step
        )


def _append_row(path: Path, row: dict[str, object]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if new:
            writer.writeheader()
        writer.writerow(row)


def _read_progress(folder: Path, digest: str) -> Checkpoint:
    path = folder / "progress.json"
    if not path.exists():
        progress = Checkpoint(recipe=digest)
        write_json(path, progress)  # from the first epoch on, the folder says whose it is
        return progress
    try:
        progress = msgspec.json.decode(path.read_bytes(), type=Checkpoint)
    except msgspec.MsgspecError as error:
        raise ModelError(f"{path}: not a training checkpoint: {error}") from error
    if progress.recipe != digest:
        raise ModelError(
            f"{folder}: holds a checkpoint of another version of this recipe; move it away, or train with --retrain"
        )
    return progress


def is_first_process() -> bool:
    """Whether this process is the one of those that train together that writes files."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0


def _keep_freed_memory() -> None:
    """Tell glibc to keep what is freed: each step of a training asks for the same large blocks again.

    By default it gives blocks over 128 KiB back to the kernel and pays page faults for all of them at every
    step, a fifth of the time on a CPU. Other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        m_trim_threshold, m_top_pad, m_mmap_threshold = -1, -2, -3  # malloc.h
        mallopt(m_mmap_threshold, 32 << 20)  # the largest that glibc takes
        mallopt(m_trim_threshold, (1 << 31) - 1)
        mallopt(m_top_pad, 256 << 20)


logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
