"""Training batches: shuffled, cropped, flipped and blanked, the same for the same seed and epoch on every device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from testbed.data.datasets import Samples


@dataclass(frozen=True)
class Augmentation:
    """What is done to every input alike over its channels and timesteps.

    `cutout` is twice how far a blanked square reaches from its centre.
    """

    padding: int
    flip: bool
    cutout: int = 0

    def apply(self, inputs: Tensor, side: int, rng: np.random.Generator) -> Tensor:
        """Random crops of side x side, flips and blanks, of uint8 inputs [N, ..., H, W], on the inputs' device."""
        count, height, width = len(inputs), *inputs.shape[-2:]
        # Where the crop is smaller than the input, its freedom to move is that of the padding.
        pad = max(0, self.padding - (height - side)) if side < height else self.padding
        limit = height + 2 * pad - side + 1
        drawn = [rng.integers(0, limit, count), rng.integers(0, limit, count)]
        drawn.append((rng.random(count) < 0.5).astype(np.int64) if self.flip else np.zeros(count, np.int64))
        drawn += list(rng.integers(0, side, (2, count))) if self.cutout else []
        # Drawn on the CPU and moved at once, so that every device sees the same crops and waits for none of them.
        rows, columns, mirrored, *centre = torch.from_numpy(np.stack(drawn)).to(inputs.device)[:, :, None]
        steps = torch.arange(side, device=inputs.device)
        down, right = rows + steps, columns + torch.where(mirrored == 1, side - 1 - steps, steps)
        flat = inputs.reshape(count, -1, height, width)
        padded = torch.nn.functional.pad(flat, (pad, pad, pad, pad)) if pad else flat
        every = torch.arange(count, device=inputs.device)[:, None, None]
        # Indexed dimensions come first: [N, side, side, C], which is channels-last already.
        cropped = padded.permute(0, 2, 3, 1)[every, down[:, :, None], right[:, None, :]].permute(0, 3, 1, 2)
        if self.cutout:
            near_row, near_column = ((steps - middle).abs() * 2 <= self.cutout for middle in centre)
            cropped = cropped.masked_fill(near_row[:, None, :, None] & near_column[:, None, None, :], 0)
        return cropped.reshape(*inputs.shape[:-2], side, side)


class Batches:
    """An epoch of (inputs, labels), the share of one of `world` processes; an incomplete last batch is left out.

    Inputs are uint8 [N, C, H, W] or [N, T, C, H, W], cropped to the `side` of the epoch; labels are int64 [N]. The
    samples lie on `device`, and are cropped there.

    Every process draws the same order and the same crops for a whole batch, and takes every `world`-th sample of
    it, so a run on more devices sees the same batches.
    """

    def __init__(
        self,
        samples: Samples,
        batch_size: int,
        augmentation: Augmentation,
        *,
        epoch: Callable[[], int],
        side: Callable[[int], int],
        seed: tuple[int, ...],
        rank: int = 0,
        world: int = 1,
        device: torch.device | None = None,
    ) -> None:
        self._images = torch.from_numpy(samples.images).to(device or "cpu")
        self._labels = torch.from_numpy(samples.labels).to(device or "cpu")
        self._batch_size, self._augmentation = batch_size, augmentation
        self._epoch, self._side, self._seed = epoch, side, seed
        self._rank, self._world = rank, world

    def __len__(self) -> int:
        return len(self._labels) // self._batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        epoch = self._epoch()
        side = self._side(epoch)
        rng = np.random.default_rng([*self._seed, epoch])
        order = torch.from_numpy(rng.permutation(len(self._labels))).to(self._labels.device)
        mine = slice(self._rank, None, self._world)
        for step in range(len(self)):
            index = order[step * self._batch_size : (step + 1) * self._batch_size]
            inputs = self._augmentation.apply(self._images[index], side, rng)
            yield inputs[mine], self._labels[index][mine]
