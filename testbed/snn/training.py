"""Training of a recipe on Lightning: phases over one backbone and its variants, checkpointed at every epoch.

`progress.json` says which (network, phase) jobs are done, each network's weights lie beside it, and Lightning's own
checkpoint holds the job that is running: a training that is started again goes on from its last whole epoch. Networks
that are done with all their jobs are in `checkpoint.safetensors`, and can be exported and measured.
"""

from __future__ import annotations

import ctypes
import logging
import shutil
import warnings
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from testbed.data.datasets import Dataset
from testbed.errors import DataError, ExperimentError, ModelError
from testbed.record.log import make_folder, write_json
from testbed.snn.architecture import FULL
from testbed.snn.batches import Augmentation, Batches
from testbed.snn.budget import Budget, OutOfTimeError
from testbed.snn.build import build
from testbed.snn.checkpoint import SafetensorsIO, load_weights, save_checkpoint, save_weights
from testbed.snn.epochs import Epochs, Keeper, Report, keep_rows
from testbed.snn.network import Network
from testbed.snn.phase import JOB_KEY, Phase
from testbed.snn.processes import Group
from testbed.snn.recipe import Recipe, lineage, recipe_digest
from testbed.snn.trained import CHECKPOINT
from testbed.snn.training_spec import PhaseSpec

PROGRESS, TABLE = "progress.json", "training.csv"

PHASE_NAME = "phase"
"""Lightning's checkpoint of the phase that is being trained, rewritten after every epoch."""

_LOG = logging.getLogger(__name__)

PRECISION: dict[str, Any] = {"bf16": "bf16-mixed", "fp16": "16-mixed", "fp32": "32-true"}


def precision_on(device: str, asked: str | None) -> str:
    """Precision to train in on a device of that type, `cpu` or `cuda`, where a recipe asks for one or leaves it open.

    Without AVX-512 oneDNN has no fast convolution in bf16: a ResNet-18 of width 16 took 15 times as long as in fp32.
    """
    if asked is not None:
        return asked
    return "fp32" if device == "cpu" and not torch.backends.cpu.get_cpu_capability().startswith("AVX512") else "bf16"


Job: TypeAlias = tuple[str, PhaseSpec]
"""A network, and a phase that trains it."""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far training got: so many jobs are done, in their order; `lineage` says of which networks they are."""

    recipe: str
    jobs_done: int = 0
    trained: list[str] = []
    lineage: dict[str, str] = {}


def train(
    recipe: Recipe,
    dataset: Dataset,
    folder: Path,
    report: Report,
    group: Group,
    *,
    anew: bool = False,
    teacher: Network | None = None,
    budget: Budget | None = None,
) -> dict[str, Network]:
    """Train everything that the recipe asks for, from the last checkpoint in `folder` if there is one.

    Every process of the group calls this with the same arguments, and they must share `folder`; the first process
    alone writes and reports. `anew` moves a training that is finished, or of another recipe, aside before. Where the
    recipe's variants were changed since, the networks that the change does not touch are taken over. `teacher` is
    the network of the recipe's `training.teacher`, a relu one; without it phases that distil learn from the recipe's
    own uncut network. Whenever a network is done, `checkpoint.safetensors` has it and those before it.

    Returns:
        The trained networks by name, on the CPU and in evaluation mode, the same in every process.

    Raises:
        ModelError: the checkpoint in `folder` is of another recipe, or training diverged.
        DataError: the data set does not fit the recipe.
        ExperimentError: the recipe does not fit the hardware.
        OutOfTimeError: the budget is spent; the same call goes on.
        KeyboardInterrupt: the user, or a batch system's SIGTERM, ended it.
    """
    _check(recipe, dataset, group)
    _keep_freed_memory()
    budget = budget or Budget()
    networks = build(recipe, dataset)
    jobs: list[Job] = [(FULL, phase) for phase in recipe.training.phases if phase.train == "backbone"]
    for name, variant in recipe.variants.items():
        jobs += [(name, phase) for phase in recipe.training.phases if phase.train in variant.trained_in]
    progress = _begin(folder, recipe, jobs, group, anew)
    for name in progress.trained:
        load_weights(networks[name], folder / f"{name}.safetensors")
    if group.first and not (folder / CHECKPOINT).exists():
        _keep_whole(networks, jobs[progress.jobs_done :], recipe, folder)
    rows, epoch_s = 0, 0.0
    for number, (name, phase) in enumerate(jobs):
        if number >= progress.jobs_done:
            if name != FULL and name not in progress.trained:
                networks[name].backbone.load_state_dict(networks[FULL].backbone.state_dict())
            module = Phase(
                recipe,
                phase,
                networks[name],
                None if phase.distill is None else teacher or networks[FULL],
                number,
                None if teacher is None else 1,
                None if phase.match is None else networks[FULL],
            )
            epochs = Epochs(recipe, name, phase, dataset.validation, folder / TABLE, rows, report)
            keeper = Keeper(folder, PHASE_NAME, budget)
            try:
                if not group.fabric.broadcast(budget.allows(epoch_s)):
                    raise OutOfTimeError(f"0 of {phase.epochs} epochs")
                _fit(module, epochs, keeper, recipe, phase, dataset, folder, f"{number}-{name}-{phase.train}", group)
            except OutOfTimeError as error:
                raise OutOfTimeError(
                    f"time is up: {name}, {phase.train} has {error}; the same command goes on from there"
                ) from error
            epoch_s = keeper.epoch_s
            progress = msgspec.structs.replace(
                progress, jobs_done=number + 1, trained=sorted({*progress.trained, name})
            )
            if group.first:
                _keep_whole(networks, jobs[number + 1 :], recipe, folder)
            _finish(networks[name], name, progress, folder, group)
        rows += phase.epochs
    return {name: network.cpu().eval() for name, network in networks.items()}


def _check(recipe: Recipe, dataset: Dataset, group: Group) -> None:
    """What would be found out only after a while, or not at all."""
    training = recipe.training
    if len(dataset.train) < training.batch_size:
        raise DataError(
            f"{dataset.name}: {len(dataset.train)} training samples are fewer than a batch of {training.batch_size}; "
            "lower training.batch_size"
        )
    if training.batch_size % group.size:
        raise ExperimentError(
            f"{recipe.name}: a batch of {training.batch_size} cannot be shared by {group.size} devices; "
            "choose a training.batch_size that they divide"
        )
    if training.precision == "fp16" and group.fabric.device.type == "cpu":
        raise ExperimentError(f"{recipe.name}: precision fp16 needs a GPU; set training.precision to bf16 or fp32")


def _fit(
    module: Phase,
    epochs: Epochs,
    keeper: Keeper,
    recipe: Recipe,
    phase: PhaseSpec,
    dataset: Dataset,
    folder: Path,
    title: str,
    group: Group,
) -> None:
    """Train one job, from its checkpoint if there is one."""
    training, size = recipe.training, recipe.dataset.size
    batches = Batches(
        dataset.train,
        training.batch_size,
        Augmentation(training.crop_padding, training.flip, training.cutout),
        epoch=lambda: trainer.current_epoch,
        size=lambda epoch: size if phase.crops is None else phase.crops[epoch],
        seed=(training.seed, module.job),
        rank=group.rank,
        world=group.size,
        device=group.fabric.device,
    )
    with warnings.catch_warnings():
        # Lightning warns of its own and torch's internals, and of a checkpoint folder that is meant to be there.
        warnings.simplefilter("ignore")
        trainer = group.trainer(
            [SafetensorsIO()],
            max_epochs=phase.epochs,
            precision=PRECISION[precision_on(group.fabric.device.type, training.precision)],
            gradient_clip_val=training.gradient_clip,
            callbacks=[epochs, keeper],
            logger=TensorBoardLogger(folder, "tensorboard", version=title),
            default_root_dir=folder,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )
        try:
            trainer.fit(module, batches, ckpt_path=_resumable(folder, module.job))
        except SystemExit as error:  # Lightning's way to pass on an interrupt
            raise KeyboardInterrupt from error
    module.network.cpu()


def _resumable(folder: Path, job: int) -> str | None:
    """The checkpoint of a job that was interrupted; the job before may have left its own behind."""
    latest = folder / f"{PHASE_NAME}.ckpt"
    if not latest.exists() or SafetensorsIO().load_checkpoint(latest).get(JOB_KEY, job) != job:
        return None
    return str(latest)


def _begin(folder: Path, recipe: Recipe, jobs: list[Job], group: Group, anew: bool) -> Checkpoint:
    """How far training got, as every process reads it after the first one has made the folder ready."""
    path, digest = folder / PROGRESS, recipe_digest(recipe)
    if group.first:
        before = _progress_of(path)
        goes_on = before is not None and before.recipe == digest and before.jobs_done < len(jobs)
        if anew and folder.exists() and not goes_on:
            folder.rename(_unused(folder))
        elif before is not None and before.recipe != digest:
            _take_over(folder, before, recipe, jobs)
        if not path.exists():
            write_json(path, Checkpoint(recipe=digest, lineage=lineage(recipe)))  # the folder says whose it is
    group.wait_for_all()
    try:
        progress = msgspec.json.decode(path.read_bytes(), type=Checkpoint)
    except FileNotFoundError as error:
        raise ModelError(
            f"{path}: written by the first process, but not seen by process {group.rank}; nodes that train together "
            "need --results on a file system that all of them share"
        ) from error
    except msgspec.MsgspecError as error:
        raise ModelError(f"{path}: not a training checkpoint: {error}") from error
    if progress.recipe != digest:
        raise ModelError(
            f"{folder}: holds a checkpoint of another version of this recipe; move it away, or train with --retrain"
        )
    return progress


def _keep_whole(networks: dict[str, Network], left: list[Job], recipe: Recipe, folder: Path) -> None:
    """Write the networks that no job is left for, for who measures them while others are still trained."""
    unfinished = {name for name, _ in left}
    if FULL not in unfinished:
        whole = {name: network for name, network in networks.items() if name not in unfinished}
        save_checkpoint(whole, recipe, folder / CHECKPOINT)


def _progress_of(path: Path) -> Checkpoint | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Checkpoint)
    except (OSError, msgspec.MsgspecError):
        return None


def _take_over(folder: Path, before: Checkpoint, recipe: Recipe, jobs: list[Job]) -> None:
    """Begin with what a change of the recipe's variants left as it was; the folder before is kept beside this one."""
    known = lineage(recipe)
    same = list(takewhile(lambda job: before.lineage.get(job[0]) == known[job[0]], jobs[: before.jobs_done]))
    if not same:
        return
    names = list(dict.fromkeys(name for name, _ in same))
    new = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(new, ignore_errors=True)
    make_folder(new)
    try:
        for name in (*(f"{name}.safetensors" for name in names), TABLE):
            shutil.copyfile(folder / name, new / name)
    except FileNotFoundError as error:
        raise ModelError(f"{error.filename}: is missing; move {folder} away, or train with --retrain") from error
    keep_rows(new / TABLE, sum(phase.epochs for _, phase in same))
    write_json(
        new / PROGRESS,
        Checkpoint(recipe=recipe_digest(recipe), jobs_done=len(same), trained=sorted(names), lineage=known),
    )
    old = _unused(folder)
    folder.rename(old)
    new.rename(folder)
    _LOG.info("the recipe was changed: %s taken over from %s", ", ".join(names), old)


def _finish(network: Network, name: str, progress: Checkpoint, folder: Path, group: Group) -> None:
    """Keep what a job trained; every process goes on with the first one's batch norm statistics."""
    path = folder / f"{name}.safetensors"
    if group.first:
        save_weights(network, path)
        write_json(folder / PROGRESS, progress)
        (folder / f"{PHASE_NAME}.ckpt").unlink(missing_ok=True)
    group.wait_for_all()
    if not group.first:
        load_weights(network, path)


def _unused(folder: Path) -> Path:
    number = 1
    while (other := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    return other


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
