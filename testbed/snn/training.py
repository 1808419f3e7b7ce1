"""Training of a recipe: phases over one backbone and its variants, checkpointed at every epoch.

A checkpoint is a safetensors file (weights and AdamW moments) and a JSON file that says how far it
got; both are replaced atomically, and a training run that is started again goes on from there.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from testbed.data.datasets import Dataset, Samples
from testbed.errors import ModelError
from testbed.record.log import write_atomically, write_json
from testbed.snn.backbones import Neuron, SpikingResNet18
from testbed.snn.network import Bottleneck, Network, Normalize
from testbed.snn.recipe import PhaseSpec, Recipe, recipe_digest

WARMUP_SHARE = 0.05
"""Share of a phase's steps over which the learning rate rises from zero."""

PHASE_FILE = "phase.safetensors"
"""Weights and AdamW moments of the phase that is being trained, rewritten after every epoch."""

FULL = "full"
"""The name of the uncut network among the networks of a recipe."""


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


Report = Callable[[Progress], None]


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far training got: jobs are the (network, phase) pairs in order; the next one is at `epochs_done`."""

    recipe: str
    jobs_done: int = 0
    epochs_done: int = 0
    trained: list[str] = []


def build(recipe: Recipe, dataset: Dataset) -> dict[str, Network]:
    """The recipe's untrained networks: `full`, and one per variant, cut and with its bottleneck."""
    torch.manual_seed(recipe.training.seed)
    pixels = dataset.train.images.astype(np.float64) / 255.0
    mean, std = pixels.mean(axis=(0, 2, 3)), pixels.std(axis=(0, 2, 3))
    lif = Neuron(recipe.backbone.tau)
    backbone = SpikingResNet18(recipe.backbone.width, recipe.dataset.channels, len(dataset.classes), lif)
    full = Network(Normalize(torch.tensor(mean), torch.tensor(std)), backbone)
    networks = {FULL: full}
    for name, variant in recipe.variants.items():
        bottleneck = None
        if variant.bottleneck is not None:
            channels = backbone.feature_shape(variant.split, recipe.dataset.image_size)[0]
            bottleneck = Bottleneck(channels, variant.bottleneck.channels, variant.bottleneck.stride, lif)
        networks[name] = full.cut(variant.split, bottleneck)
    return networks


def train(recipe: Recipe, dataset: Dataset, folder: Path, report: Report, device: torch.device) -> dict[str, Network]:
    """Train everything that the recipe asks for, from the last checkpoint in `folder` if there is one.

    Returns:
        The trained networks by name, on the CPU and in evaluation mode.

    Raises:
        ModelError: the checkpoint in `folder` is of another recipe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    networks = build(recipe, dataset)
    digest = recipe_digest(recipe)
    progress = _read_progress(folder, digest)
    for name in list(networks):
        if name in progress.trained:
            load_weights(networks[name], folder / f"{name}.safetensors")
    jobs = [(FULL, phase) for phase in recipe.training.phases if phase.train == "backbone"]
    for name, variant in recipe.variants.items():
        if variant.bottleneck is not None:
            jobs += [(name, phase) for phase in recipe.training.phases if phase.train != "backbone"]
    for number, (name, phase) in enumerate(jobs):
        if number < progress.jobs_done:
            continue
        if name != FULL and name not in progress.trained and progress.epochs_done == 0:
            networks[name].backbone.load_state_dict(networks[FULL].backbone.state_dict())
        _run_phase(recipe, networks[name], name, phase, dataset, folder, progress, report, device)
        save_weights(networks[name], folder / f"{name}.safetensors")
        progress = Checkpoint(recipe=digest, jobs_done=number + 1, trained=sorted({*progress.trained, name}))
        write_json(folder / "progress.json", progress)
        (folder / PHASE_FILE).unlink(missing_ok=True)
    return {name: network.cpu().eval() for name, network in networks.items()}


def accuracy_per_timestep(network: Network, samples: Samples, timesteps: int, batch: int = 256) -> list[float]:
    """Accuracy of the mean logits after each timestep 1..T."""
    network.eval()
    correct = torch.zeros(timesteps, dtype=torch.int64)
    with torch.inference_mode():
        for start in range(0, len(samples), batch):
            images = torch.from_numpy(samples.images[start : start + batch])
            labels = torch.from_numpy(samples.labels[start : start + batch])
            correct += (network(images, timesteps).cumsum(0).argmax(-1) == labels).sum(1)
            functional.reset_net(network)
    return [int(count) / len(samples) for count in correct]


def _run_phase(
    recipe: Recipe,
    network: Network,
    name: str,
    phase: PhaseSpec,
    dataset: Dataset,
    folder: Path,
    progress: Checkpoint,
    report: Report,
    device: torch.device,
) -> None:
    training = recipe.training
    network.to(device)
    frozen = phase.train == "codec"
    network.backbone.requires_grad_(not frozen)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=phase.lr, weight_decay=training.weight_decay)
    steps = len(dataset.train) // training.batch_size
    if progress.epochs_done:
        _load_phase(network, optimizer, trained, folder / PHASE_FILE)
    for epoch in range(progress.epochs_done, phase.epochs):
        started = time.monotonic()
        timesteps = recipe.timesteps if phase.timesteps is None else phase.timesteps[epoch]
        network.train()
        if frozen:
            network.backbone.eval()  # batch norm keeps the statistics that the frozen layers were trained with
        generator = np.random.default_rng([training.seed, progress.jobs_done, epoch])
        loss_sum = correct = seen = 0.0
        for step, (images, labels) in enumerate(_batches(recipe, dataset.train, generator)):
            done = (epoch * steps + step) / (phase.epochs * steps)
            for group in optimizer.param_groups:
                group["lr"] = phase.lr * _schedule(done)
            images, labels = images.to(device), labels.to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=training.precision == "bf16"):
                logits = network(images, timesteps)
            loss = functional.temporal_efficient_training_cross_entropy(logits.float(), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            functional.reset_net(network)
            loss_sum += (value := loss.item())
            if not math.isfinite(value):
                raise ModelError(f"training of {name} diverged in phase {phase.train}, epoch {epoch + 1}: lower its lr")
            correct += int((logits.mean(0).argmax(-1) == labels).sum())
            seen += len(labels)
            report(Progress(name, phase.train, epoch + 1, phase.epochs, step + 1, steps, value, correct / seen))
        validation = accuracy_per_timestep(network.cpu(), dataset.validation, recipe.timesteps)
        network.to(device)
        _log_epoch(
            folder / "training.csv",
            {
                "network": name,
                "phase": phase.train,
                "epoch": epoch + 1,
                "timesteps": timesteps,
                "loss": round(loss_sum / steps, 5),
                "train_accuracy": round(correct / seen, 5),
                "validation_accuracy": round(validation[-1], 5),
                "seconds": round(time.monotonic() - started, 1),
            },
        )
        _save_phase(network, optimizer, trained, folder / PHASE_FILE)
        write_json(folder / "progress.json", msgspec.structs.replace(progress, epochs_done=epoch + 1))
    network.cpu().backbone.requires_grad_(True)


def _schedule(done: float) -> float:
    if done < WARMUP_SHARE:
        return done / WARMUP_SHARE
    return 0.5 * (1.0 + math.cos(math.pi * (done - WARMUP_SHARE) / (1.0 - WARMUP_SHARE)))


def _batches(recipe: Recipe, samples: Samples, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled batches with random crops and flips; the incomplete last one is left out."""
    training, size, pad = recipe.training, recipe.dataset.image_size, recipe.training.crop_padding
    order = rng.permutation(len(samples))
    for start in range(0, len(order) - training.batch_size + 1, training.batch_size):
        index = order[start : start + training.batch_size]
        images = samples.images[index]
        if pad:
            padded = np.pad(images, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(2, 3))
            rows, columns = rng.integers(0, 2 * pad + 1, (2, len(index)))
            images = windows[np.arange(len(index)), :, rows, columns]
        if training.flip:
            flip = rng.random(len(index)) < 0.5
            images = np.where(flip[:, None, None, None], images[..., ::-1], images)
        yield torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(samples.labels[index])


def _log_epoch(path: Path, row: dict[str, object]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if new:
            writer.writeheader()
        writer.writerow(row)


def _read_progress(folder: Path, digest: str) -> Checkpoint:
    path = folder / "progress.json"
    if not path.exists():
        return Checkpoint(recipe=digest)
    try:
        progress = msgspec.json.decode(path.read_bytes(), type=Checkpoint)
    except msgspec.MsgspecError as error:
        raise ModelError(f"{path}: not a training checkpoint: {error}") from error
    if progress.recipe != digest:
        raise ModelError(
            f"{folder}: holds a checkpoint of another version of this recipe; move it away, or train with --retrain"
        )
    return progress


def save_checkpoint(networks: dict[str, Network], recipe: Recipe, path: Path) -> None:
    """Write all trained networks of a recipe into one file, in half precision: finer than the export's weight grid."""
    tensors = {
        f"{name}.{key}": value.half() if value.is_floating_point() else value
        for name, network in networks.items()
        if name == FULL or network.bottleneck is not None
        for key, value in network.state_dict().items()
    }
    write_atomically(path, save(tensors, {"recipe": recipe_digest(recipe)}))


def load_checkpoint(networks: dict[str, Network], recipe: Recipe, path: Path) -> None:
    """Read trained networks back; a variant without a bottleneck shares the weights of the uncut network.

    Raises:
        ModelError: the file is damaged or of another recipe.
    """
    try:
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("recipe") != recipe_digest(recipe):
                raise ModelError(f"{path}: trained with another version of this recipe; testbed train --retrain")
        tensors = load_file(path)
        for name, network in networks.items():
            source = FULL if network.bottleneck is None else name
            prefix = f"{source}."
            network.load_state_dict(
                {key.removeprefix(prefix): value.float() for key, value in tensors.items() if key.startswith(prefix)}
            )
            network.eval()
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path}: not the weights of this recipe: {str(error).splitlines()[0]}") from error


def save_weights(network: Network, path: Path) -> None:
    """Write a network's weights, replacing the file in one step."""
    write_atomically(path, save({key: value.contiguous() for key, value in network.cpu().state_dict().items()}))


def load_weights(network: Network, path: Path) -> None:
    """Read a network's weights back.

    Raises:
        ModelError: the file is missing, damaged, or of another network.
    """
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{path}: not the weights of this recipe's network: {reason}") from error


def _save_phase(network: Network, optimizer: torch.optim.Optimizer, trained: Sequence[Tensor], path: Path) -> None:
    tensors = {f"weight.{key}": value for key, value in network.state_dict().items()}
    for index, parameter in enumerate(trained):
        tensors |= {f"adamw.{index}.{key}": value for key, value in optimizer.state[parameter].items()}
    write_atomically(path, save({key: value.detach().cpu().contiguous() for key, value in tensors.items()}))


def _load_phase(network: Network, optimizer: torch.optim.Optimizer, trained: Sequence[Tensor], path: Path) -> None:
    tensors = load_file(path)
    network.load_state_dict(
        {key.removeprefix("weight."): value for key, value in tensors.items() if key.startswith("weight.")}
    )
    for index, parameter in enumerate(trained):
        for key in ("step", "exp_avg", "exp_avg_sq"):
            value = tensors[f"adamw.{index}.{key}"]
            optimizer.state[parameter][key] = value if key == "step" else value.to(parameter.device)
