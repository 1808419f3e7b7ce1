"""Weights and training state on disk, as safetensors: nothing here can run code when it is read."""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import Any

import msgspec
import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from testbed.errors import ModelError
from testbed.record.log import write_atomically
from testbed.snn.architecture import FULL
from testbed.snn.network import Network
from testbed.snn.recipe import Recipe, lineage, recipe_digest
from testbed.snn.trained import NETWORKS, Kept, kept_in, tensors_digest


class SafetensorsIO(CheckpointIO):
    """Lightning's checkpoints on disk: the tensors as safetensors, everything else as msgpack in its metadata."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint, replacing the file in one step."""
        tensors: dict[str, torch.Tensor] = {}
        skeleton = _without_tensors(checkpoint, tensors)
        packed = base64.b64encode(msgspec.msgpack.encode(skeleton)).decode()
        write_atomically(Path(path), save(tensors, {"skeleton": packed}))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint.

        Raises:
            ModelError: the file is damaged.
        """
        try:
            with safe_open(path, "pt") as file:
                packed = (file.metadata() or {})["skeleton"]
            skeleton = msgspec.msgpack.decode(base64.b64decode(packed), strict=False)
            restored: dict[str, Any] = _with_tensors(skeleton, load_file(path))
        except (OSError, KeyError, ValueError, SafetensorError, msgspec.MsgspecError) as error:
            raise ModelError(f"{path}: not a training checkpoint: {str(error).splitlines()[0]}") from error
        return restored

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


TENSOR_KEY = "__tensor__"


def _without_tensors(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        key = str(len(tensors))
        tensors[key] = value.detach().cpu().contiguous().clone()
        return {TENSOR_KEY: key}
    if isinstance(value, dict):
        return {key: _without_tensors(item, tensors) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_tensors(item, tensors) for item in value]
    return value


def _with_tensors(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, dict):
        if TENSOR_KEY in value:
            return tensors[value[TENSOR_KEY]]
        return {key: _with_tensors(item, tensors) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_tensors(item, tensors) for item in value]
    return value


def save_checkpoint(networks: dict[str, Network], recipe: Recipe, path: Path) -> None:
    """Write trained networks of a recipe into one file, in half precision: finer than the export's weight grid.

    Raises:
        ModelError: a weight is not finite in half precision.
    """
    tensors: dict[str, torch.Tensor] = {}
    kept: dict[str, Kept] = {}
    known = lineage(recipe)
    for name, network in networks.items():
        if not network.has_own_weights:
            continue
        halves = {key: _half(value, f"{path.name}: {name}.{key}") for key, value in network.state_dict().items()}
        kept[name] = Kept(lineage=known[name], weights=tensors_digest(halves))
        tensors |= {f"{name}.{key}": value for key, value in halves.items()}
    write_atomically(path, save(tensors, {NETWORKS: msgspec.json.encode(kept).decode()}))


def _half(value: torch.Tensor, where: str) -> torch.Tensor:
    if not value.is_floating_point():
        return value.contiguous()
    half = value.half()
    if not math.isfinite(half.abs().max().item()):
        raise ModelError(f"{where} does not fit half precision; training diverged")
    return half.contiguous()


def load_checkpoint(networks: dict[str, Network], recipe: Recipe, path: Path) -> None:
    """Read trained networks back; a variant that is never trained shares the weights of the uncut network.

    Those whose training has not come so far, or was of another version of the recipe, are taken out of `networks`.

    Raises:
        ModelError: the file is damaged, or its uncut network of another recipe.
    """
    told, known = kept_in(path), lineage(recipe)
    try:
        with safe_open(path, "pt") as file:
            old = (file.metadata() or {}).get("recipe")
        if old != recipe_digest(recipe) if told is None else FULL not in told or told[FULL].lineage != known[FULL]:
            raise ModelError(f"{path}: trained with another version of this recipe; testbed train --retrain")
        tensors = load_file(path)
        for name, network in list(networks.items()):
            source = name if network.has_own_weights else FULL
            if told is not None and (source not in told or told[source].lineage != known[source]):
                del networks[name]
                continue
            prefix = f"{source}."
            own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            if told is not None and tensors_digest(own) != told[source].weights:
                raise ModelError(f"{path}: damaged: the weights of {source} are not those that it was written with")
            network.load_state_dict(
                {key: value.float() if value.is_floating_point() else value for key, value in own.items()}
            )
            network.eval()
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path}: not the weights of this recipe: {str(error).splitlines()[0]}") from error


def save_weights(network: Network, path: Path) -> None:
    """Write a network's weights, replacing the file in one step."""
    write_atomically(path, save({key: value.cpu().contiguous() for key, value in network.state_dict().items()}))


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
