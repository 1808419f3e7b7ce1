"""Trained weights in the fewest bytes that keep their answers: integers of the deployed network, compressed.

What is deployed has batch norm folded in and lies on a grid of 2^-12 (`testbed.snn.deployable`), so int16 holds it.
The large layers are rounded further, to a power of two that is a small share of their weights' spread. Such a grid is
part of the finer one, and the low bits that it drops are most of what a compressor could not shrink.
"""

from __future__ import annotations

import json
import lzma
import math
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from testbed.errors import ModelError
from testbed.record.log import write_atomically
from testbed.snn.architecture import FULL
from testbed.snn.deployable import WEIGHT_GRID_BITS, deployable
from testbed.snn.network import Network
from testbed.snn.recipe import Recipe, recipe_digest

SUFFIX = ".xz"
COARSE_SHARE = 0.125
"""Step of a large layer's grid over the standard deviation of its weights, at the most. Rounding then adds noise of
0.125/√12 = 3.6% of the weights' spread."""

LARGE = 8_000
"""Weights from which on a layer is rounded further: together the smaller ones are under 1% of a network."""

LARGEST_BYTES = 1 << 30
"""More than ten full-width networks take as int16."""

_XZ = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 3, "lp": 1, "pb": 1}]
"""Literals are told apart by their place in an int16."""


def coarsened(network: Network) -> Network:
    """The network as it is deployed, with its large layers on coarser grids."""
    folded = deployable(network)
    with torch.no_grad():
        for parameter in folded.parameters():
            scale = 2.0 ** _coarse_bits(parameter)
            parameter.copy_(torch.round(parameter * scale) / scale)
    return folded


def _coarse_bits(weights: Tensor) -> int:
    if weights.numel() < LARGE:
        return WEIGHT_GRID_BITS
    step = COARSE_SHARE * weights.std().item()
    return WEIGHT_GRID_BITS if step <= 0 else min(WEIGHT_GRID_BITS, math.ceil(-math.log2(step)))


def _grid_bits(weights: Tensor) -> int:
    """Bits of the coarsest grid that the weights lie on."""
    for bits in range(WEIGHT_GRID_BITS):
        scaled = weights.double() * 2.0**bits
        if torch.equal(scaled, scaled.round()):
            return bits
    return WEIGHT_GRID_BITS


def pack(networks: dict[str, Network], recipe: Recipe, path: Path) -> None:
    """Write coarsened networks into one file; what a variant shares with the uncut network is written once.

    Raises:
        ModelError: a weight does not fit.
    """
    tensors: dict[str, Tensor] = {}
    bits: dict[str, int] = {}
    full = networks[FULL].state_dict() if FULL in networks else {}
    for name, network in networks.items():
        grids = {key: _grid_bits(value) for key, value in network.named_parameters()}
        for key, value in network.state_dict().items():
            if name != FULL and key in full and torch.equal(value.cpu(), full[key].cpu()):
                continue
            if key in grids:
                bits[f"{name}.{key}"] = grids[key]
                tensors[f"{name}.{key}"] = _integers(value.cpu(), grids[key], f"{path.name}: {name}.{key}")
            else:
                tensors[f"{name}.{key}"] = value.cpu().contiguous()
    metadata = {"recipe": recipe_digest(recipe), "grid_bits": json.dumps(bits)}
    write_atomically(path, lzma.compress(save(tensors, metadata), filters=_XZ))


def _integers(weights: Tensor, bits: int, where: str) -> Tensor:
    scaled = torch.round(weights.double() * 2.0**bits)
    if not scaled.abs().max().item() < 1 << 15:
        raise ModelError(f"{where} does not fit 16 bits on a grid of 2^-{bits}")
    return scaled.to(torch.int16).contiguous()


def unpack(networks: dict[str, Network], recipe: Recipe, path: Path) -> None:
    """Put packed weights in place of trained ones: each network becomes the deployed one.

    Raises:
        ModelError: the file is damaged or of another recipe.
    """
    try:
        data = _decompressed(path.read_bytes())
        metadata = _metadata(data)
        if metadata.get("recipe") != recipe_digest(recipe):
            raise ModelError(f"{path}: trained with another version of this recipe; testbed train --retrain")
        bits: dict[str, int] = json.loads(metadata["grid_bits"])
        stored = {key: value.float() * 2.0 ** -bits[key] if key in bits else value for key, value in load(data).items()}
        for name, network in networks.items():
            folded = deployable(network)
            if not network.has_own_weights:
                folded.load_state_dict(networks[FULL].state_dict())  # it shares the uncut network's weights
                networks[name] = folded
                continue
            prefixes = (f"{name}.", f"{FULL}.")
            folded.load_state_dict({key: _first(stored, prefixes, key) for key in folded.state_dict()})
            networks[name] = folded
    except (OSError, lzma.LZMAError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path}: not the weights of this recipe: {str(error).splitlines()[0]}") from error


def _first(stored: dict[str, Tensor], prefixes: tuple[str, ...], key: str) -> Tensor:
    found = next((prefix + key for prefix in prefixes if prefix + key in stored), None)
    if found is None:
        raise KeyError(f"{key} is missing")
    return stored[found]


def _decompressed(packed: bytes) -> bytes:
    """What was packed.

    Raises:
        ValueError: it is larger than any network here, or cut short.
    """
    decompressor = lzma.LZMADecompressor()
    data = decompressor.decompress(packed, LARGEST_BYTES)
    if not decompressor.eof:
        raise ValueError(f"it is cut short, or holds more than {LARGEST_BYTES} bytes")
    return data


def _metadata(data: bytes) -> dict[str, str]:
    """What stands in the head of a safetensors file: its length in 8 bytes, then JSON."""
    length = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + length])
    metadata: dict[str, str] = head["__metadata__"]
    return metadata
