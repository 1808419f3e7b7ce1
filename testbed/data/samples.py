"""Samples and data sets as arrays, and how samples are split by seed.

Every data set here is small enough to sit in memory, which makes epochs cheap and order reproducible.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from testbed.data.spec import DatasetSpec
from testbed.errors import DataError

EVENT_AXES = 5
"""Dimensions of the images of an event data set: [N, T, C, H, W]; stills have [N, C, H, W]."""


@dataclass(frozen=True)
class Samples:
    """Images with labels int64 [N].

    Stills are uint8 [N, C, H, W]. Event data are counts per frame, uint8 [N, T, 2, H, W]: channel 0 counts the OFF
    events (darker), channel 1 the ON events, both clipped at 255.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: NDArray[np.int64]) -> Samples:
        """The samples at these positions."""
        return Samples(self.images[index], self.labels[index])

    def some(self, most: int) -> Samples:
        """At most so many of them, drawn by a fixed seed."""
        return self.take(np.random.default_rng(0).permutation(len(self))[:most])


@dataclass(frozen=True)
class Dataset:
    """A data set as the experiments name it. `variant` says what a footnote needs: form, split, seeds, sizes."""

    name: str
    variant: str
    classes: tuple[str, ...]
    train: Samples
    validation: Samples
    test: Samples

    @property
    def static(self) -> bool:
        """True for stills, which are shown again at every timestep; False for frames of events, one per timestep."""
        return self.train.images.ndim < EVENT_AXES


def held_back(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.bool_]:
    """Choose a share of each class by seed, at least one sample of each: bool [N], True where held back."""
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        held[members[: max(1, round(share * len(members)))]] = True
    return held


def at_most(labels: NDArray[np.int64], count: int | None, seed: int) -> NDArray[np.int64]:
    """Positions of at most `count` samples of each class, chosen by seed, in their order; all where it is None."""
    if count is None:
        return np.arange(len(labels))
    rng = np.random.default_rng(seed)
    kept = [rng.permutation(np.flatnonzero(labels == label))[:count] for label in np.unique(labels)]
    return np.sort(np.concatenate(kept))


def split_samples(
    name: str,
    variant: str,
    classes: tuple[str, ...],
    samples: Samples,
    spec: DatasetSpec,
    test: NDArray[np.bool_] | None = None,
    published: str = "published train/test split",
    validation: NDArray[np.bool_] | None = None,
) -> Dataset:
    """Split samples into train, validation and test, and say in the variant how.

    Args:
        name: of the data set.
        variant: what is to be said before the split.
        classes: their names in the order of the labels.
        samples: all of them.
        spec: shares and seed.
        test: bool [N], the published test set; None for a random split.
        published: what a published split is called.
        validation: bool [N], the published validation set; None where a share of the training samples is held back.

    Raises:
        DataError: a class is left without training samples.
    """
    if test is None:
        share = spec.test_share
        test = held_back(samples.labels, share, spec.seed)
        split = f"random {100 * (1 - share):g}/{100 * share:g} train/test split of each class, seed {spec.seed}"
    else:
        split = published
    rest = np.flatnonzero(~test)
    if validation is None:
        held = held_back(samples.labels[rest], spec.validation, spec.seed + 1)
        kept_back = f"validation {100 * spec.validation:g}% of train, seed {spec.seed}"
    else:
        held = validation[rest]
        kept_back = "published validation set"
    parts = [samples.take(index) for index in (rest[~held], rest[held], np.flatnonzero(test))]
    counts = np.bincount(parts[0].labels, minlength=len(classes))
    if not counts.all():
        raise DataError(f"{name}: class {classes[int(counts.argmin())]} has too few samples to train on and to test")
    said = [variant, split, kept_back]
    if spec.max_per_class is not None:
        said.append(f"at most {spec.max_per_class} a class, seed {spec.seed}")
    said.append("/".join(str(len(part)) for part in parts) + " train/validation/test samples")
    return Dataset(name, "; ".join(said), classes, *parts)
