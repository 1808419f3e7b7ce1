"""Training batches: shuffled, cropped, flipped and blanked, the same for the same seed and epoch on every device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from testbed.data.datasets import Samples
from testbed.data.size import Size, sides


@dataclass(frozen=True)
class Augmentation:
    """What is done to every input alike over its channels and timesteps.

    `cutout` is twice how far a blanked square reaches from its centre.
    """

    padding: int
    flip: bool
    cutout: int = 0

    def apply(self, inputs: Tensor, size: Size, rng: np.random.Generator) -> Tensor:
        """Random crops of a size, flips and blanks, of uint8 inputs [N, ..., H, W], on the inputs' device."""
        count, height, width = len(inputs), *inputs.shape[-2:]
        rows_out, columns_out = sides(size)
        down_pad, right_pad = self._pad(height, rows_out), self._pad(width, columns_out)
        limits = (height + 2 * down_pad - rows_out + 1, width + 2 * right_pad - columns_out + 1)
        drawn = [rng.integers(0, limit, count) for limit in limits]
        drawn.append((rng.random(count) < 0.5).astype(np.int64) if self.flip else np.zeros(count, np.int64))
        drawn += [rng.integers(0, side, count) for side in (rows_out, columns_out)] if self.cutout else []
        # Drawn on the CPU and moved at once, so that every device sees the same crops and waits for none of them.
        rows, columns, mirrored, *centre = torch.from_numpy(np.stack(drawn)).to(inputs.device)[:, :, None]
        down_steps, steps = (torch.arange(side, device=inputs.device) for side in (rows_out, columns_out))
        down, right = rows + down_steps, columns + torch.where(mirrored == 1, columns_out - 1 - steps, steps)
        flat = inputs.reshape(count, -1, height, width)
        padded = torch.nn.functional.pad(flat, (right_pad, right_pad, down_pad, down_pad))
        every = torch.arange(count, device=inputs.device)[:, None, None]
        # Indexed dimensions come first: [N, rows, columns, C], which is channels-last already.
        cropped = padded.permute(0, 2, 3, 1)[every, down[:, :, None], right[:, None, :]].permute(0, 3, 1, 2)
        if self.cutout:
            along = zip((down_steps, steps), centre, strict=True)
            near_row, near_column = ((step - middle).abs() * 2 <= self.cutout for step, middle in along)
            cropped = cropped.masked_fill(near_row[:, None, :, None] & near_column[:, None, None, :], 0)
        return cropped.reshape(*inputs.shape[:-2], rows_out, columns_out)

    def _pad(self, whole: int, side: int) -> int:
        """What is added at both ends: a crop that is smaller than the input has its freedom to move already."""
        return max(0, self.padding - (whole - side)) if side < whole else self.padding


class Batches:
    """An epoch of (inputs, labels), the share of one of `world` processes; an incomplete last batch is left out.

    Inputs are uint8 [N, C, H, W] or [N, T, C, H, W], cropped to the `size` of the epoch; labels are int64 [N]. The
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
        size: Callable[[int], Size],
        seed: tuple[int, ...],
        rank: int = 0,
        world: int = 1,
        device: torch.device | None = None,
    ) -> None:
        self._images = torch.from_numpy(samples.images).to(device or "cpu")
        self._labels = torch.from_numpy(samples.labels).to(device or "cpu")
        self._batch_size, self._augmentation = batch_size, augmentation
        self._epoch, self._size, self._seed = epoch, size, seed
        self._rank, self._world = rank, world

    def __len__(self) -> int:
        return len(self._labels) // self._batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        epoch = self._epoch()
        size = self._size(epoch)
        rng = np.random.default_rng([*self._seed, epoch])
        order = torch.from_numpy(rng.permutation(len(self._labels))).to(self._labels.device)
        mine = slice(self._rank, None, self._world)
        for step in range(len(self)):
            index = order[step * self._batch_size : (step + 1) * self._batch_size]
            inputs = self._augmentation.apply(self._images[index], size, rng)
            yield inputs[mine], self._labels[index][mine]
