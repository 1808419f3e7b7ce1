"""Training batches from arrays in memory: shuffled, cropped and flipped, the same for the same seed and epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from testbed.data.datasets import Samples


@dataclass(frozen=True)
class Augmentation:
    """What is done to every input alike over its channels and timesteps."""

    padding: int
    flip: bool

    def apply(self, inputs: NDArray[np.uint8], side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Random crops of side x side, and flips, of inputs [N, ..., H, W]."""
        count, height, width = len(inputs), *inputs.shape[-2:]
        # Where the crop is smaller than the input, its freedom to move is that of the padding.
        pad = max(0, self.padding - (height - side)) if side < height else self.padding
        flat = inputs.reshape(count, -1, height, width)
        padded = np.pad(flat, ((0, 0), (0, 0), (pad, pad), (pad, pad))) if pad else flat
        rows = rng.integers(0, height + 2 * pad - side + 1, count)
        columns = rng.integers(0, width + 2 * pad - side + 1, count)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(2, 3))
        cropped = windows[np.arange(count), :, rows, columns]
        if self.flip:
            mirrored = rng.random(count) < 0.5
            cropped = np.where(mirrored[:, None, None, None], cropped[..., ::-1], cropped)
        return np.ascontiguousarray(cropped).reshape(*inputs.shape[:-2], side, side)


class Batches:
    """An epoch of (inputs, labels), the share of one of `world` processes; an incomplete last batch is left out.

    Inputs are uint8 [N, C, H, W] or [N, T, C, H, W], cropped to the `side` of the epoch; labels are int64 [N].

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
    ) -> None:
        self._samples, self._batch_size, self._augmentation = samples, batch_size, augmentation
        self._epoch, self._side, self._seed = epoch, side, seed
        self._rank, self._world = rank, world

    def __len__(self) -> int:
        return len(self._samples) // self._batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        epoch = self._epoch()
        side = self._side(epoch)
        rng = np.random.default_rng([*self._seed, epoch])
        order = rng.permutation(len(self._samples))
        for step in range(len(self)):
            index = order[step * self._batch_size : (step + 1) * self._batch_size]
            inputs = self._augmentation.apply(self._samples.images[index], side, rng)
            mine = slice(self._rank, None, self._world)
            yield torch.from_numpy(inputs[mine]), torch.from_numpy(self._samples.labels[index][mine])
