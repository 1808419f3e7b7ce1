"""Data of one's own: arrays that a function in a Python file gives, checked before anything trains on them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from testbed.data.samples import EVENT_AXES, Dataset, Samples, at_most, split_samples
from testbed.data.spec import DatasetSpec
from testbed.errors import DataError
from testbed.importing import Imported

PARTS = ("train", "validation", "test")
OFFERED = ("path", "image_size", "channels", "frames", "seed")
"""What the function is told, where it has a parameter of that name; `path` is that of --data or the recipe, or None."""


def own(spec: DatasetSpec) -> Dataset:
    """What `import: FILE.py:FUNCTION` gives: {"train": (images, labels), "test": …, "classes": names}.

    Images are uint8 [N, C, H, W], or frames of events [N, T, C, H, W]; labels are whole numbers [N], positions in
    `classes`. "validation" may be given too; else a share of the training samples is held back.

    Raises:
        DataError: it gives something else, or what the recipe does not say; one line says what.
        ExperimentError: the file cannot be loaded, or the function fails.
    """
    function = spec.function
    if function is None:
        raise ValueError("no data of one's own")
    given = _given(function, spec)
    classes = _classes(function, given["classes"])
    parts = {part: _samples(f"{function}: {part}", given[part], len(classes), spec) for part in PARTS if part in given}
    for name, samples in parts.items():
        if samples.images.shape[1:] != parts["train"].images.shape[1:]:
            raise DataError(
                f"{function}: {name} has images {_shape(samples.images)}, but train has "
                f"{_shape(parts['train'].images)}; but for N they must be alike"
            )
    kept = {
        name: samples.take(at_most(samples.labels, spec.max_per_class, spec.seed)) for name, samples in parts.items()
    }
    whole = Samples(
        np.concatenate([samples.images for samples in kept.values()]),
        np.concatenate([samples.labels for samples in kept.values()]),
    )
    part = np.repeat(list(kept), [len(samples) for samples in kept.values()])
    shape = "x".join(map(str, whole.images.shape[1:]))
    variant = f"{shape}; {function.file.name}:{function.name}, sha256 {function.sha256[:12]}"
    held = part == "validation" if "validation" in kept else None
    published = f"its own train/{'validation/' if held is not None else ''}test split"
    return split_samples(
        spec.title or function.name, variant, classes, whole, spec, part == "test", published, validation=held
    )


def _given(function: Imported, spec: DatasetSpec) -> Mapping[str, Any]:
    made = function.load()
    parameters = inspect.signature(made).parameters if callable(made) else {}
    offered = dict(zip(OFFERED, (spec.path, spec.image_size, spec.channels, spec.frames, spec.seed), strict=True))
    needed = [name for name, one in parameters.items() if one.default is one.empty and one.kind not in (2, 4)]
    if unknown := [name for name in needed if name not in offered]:
        raise DataError(f"{function}: is called with {', '.join(OFFERED)}, and needs {', '.join(unknown)}")
    given = function.call(**{name: value for name, value in offered.items() if name in parameters})
    if not isinstance(given, Mapping):
        raise DataError(f"{function}: returned a {type(given).__name__}; expected a dict of train, test and classes")
    lacking = {"train", "test", "classes"} - given.keys()
    unknown = sorted(map(str, given.keys() - {*PARTS, "classes"}))
    if lacking or unknown:
        what = f"lacks {', '.join(sorted(lacking))}" if lacking else f"has {', '.join(unknown)}"
        raise DataError(f"{function}: its dict {what}; expected train, test, classes and maybe validation")
    return given


def _classes(function: Imported, names: Any) -> tuple[str, ...]:
    plain = isinstance(names, Sequence) and not isinstance(names, str) and all(isinstance(name, str) for name in names)
    if not plain or len(names) < 2 or len(set(names)) < len(names) or not all(names):
        raise DataError(f"{function}: classes must be a list of two or more names, each once (found {str(names)[:80]})")
    return tuple(names)


def _samples(where: str, given: Any, classes: int, spec: DatasetSpec) -> Samples:
    if not (isinstance(given, tuple | list) and len(given) == 2):
        raise DataError(f"{where} must be (images, labels), not a {type(given).__name__}")
    images, labels = given
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        raise DataError(f"{where}: images must be a NumPy array of uint8, not {_kind(images)}")
    channels, (height, width) = spec.channels, spec.size
    still = [channels, height, width]
    expected = still if spec.frames is None else [spec.frames, *still]
    if images.ndim not in (EVENT_AXES - 1, EVENT_AXES) or list(images.shape[1:]) != expected:
        keys = "channels and image_size" if spec.frames is None else "frames, channels and image_size"
        raise DataError(
            f"{where}: images have the shape {_shape(images)}, but {keys} of the recipe say [N, "
            f"{', '.join(map(str, expected))}]" + _hint(images, spec)
        )
    values = np.asarray(labels)
    if not np.issubdtype(values.dtype, np.integer) or values.ndim != 1:
        raise DataError(f"{where}: labels must be whole numbers [N], not {_kind(labels)}")
    if len(values) != len(images):
        raise DataError(f"{where}: {len(images)} images, but {len(values)} labels")
    if not len(values):
        raise DataError(f"{where}: holds no samples")
    outside = np.flatnonzero((values < 0) | (values >= classes))
    if len(outside):
        raise DataError(
            f"{where}: label {values[outside[0]]} of sample {outside[0]} is outside 0 to {classes - 1}, the positions "
            f"of {classes} classes"
        )
    return Samples(images, values.astype(np.int64))


def _hint(images: NDArray[np.uint8], spec: DatasetSpec) -> str:
    if images.ndim == EVENT_AXES and spec.frames is None:
        return "; frames of events need `frames`, the recipe's timesteps"
    if images.ndim > 2 and images.shape[-1] == spec.channels:
        return "; move the channels before height and width"
    return ""


def _shape(images: NDArray[np.uint8]) -> str:
    return f"[{', '.join(map(str, images.shape))}]"


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {_shape(value)}"
    return f"a {type(value).__name__}"
