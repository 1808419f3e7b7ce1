"""Data sets as arrays: uint8 images [N, C, H, W] and integer labels, split into train, validation and test.

Every data set here is small enough to sit in memory, which makes epochs cheap and order reproducible.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import pydantic
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from testbed.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


@dataclass(frozen=True)
class Samples:
    """Images uint8 [N, C, H, W] with labels int64 [N]."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: NDArray[np.int64]) -> Samples:
        """The samples at these positions."""
        return Samples(self.images[index], self.labels[index])


@dataclass(frozen=True)
class Dataset:
    """A data set as the experiments name it. `variant` says which form of the original it is."""

    name: str
    variant: str
    classes: tuple[str, ...]
    train: Samples
    validation: Samples
    test: Samples


class DatasetSpec(pydantic.BaseModel):
    """The `dataset:` block of a recipe."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    name: Literal["digits", "image_folder"]
    title: str | None = pydantic.Field(None, description="how figures and tables name an image_folder")
    path: Path | None = pydantic.Field(None, description="folder or zip; --data overrides it")
    image_size: int = pydantic.Field(32, ge=8, le=256)
    channels: Literal[1, 3] = 3
    seed: int = 0
    validation: float = pydantic.Field(0.1, gt=0, lt=0.5, description="share of the training images held back")


def load(spec: DatasetSpec, data: Path | None = None) -> Dataset:
    """Load the data set that a recipe names; `data` overrides where an image folder lies.

    Raises:
        DataError: the files are missing or are not an image folder.
    """
    return LOADERS[spec.name](spec if data is None else replace_path(spec, data))


def replace_path(spec: DatasetSpec, data: Path) -> DatasetSpec:
    """The same spec reading from elsewhere."""
    return spec.model_copy(update={"path": data})


def _hold_back(samples: Samples, share: float, seed: int) -> tuple[Samples, Samples]:
    """Split off a share of each class, chosen by seed: (kept, held back)."""
    rng = np.random.default_rng(seed)
    held = np.zeros(len(samples), dtype=bool)
    for label in np.unique(samples.labels):
        members = rng.permutation(np.flatnonzero(samples.labels == label))
        held[members[: max(1, round(share * len(members)))]] = True
    return samples.take(np.flatnonzero(~held)), samples.take(np.flatnonzero(held))


def _digits(spec: DatasetSpec) -> Dataset:
    """The 1,797 8x8 handwritten digits that scikit-learn ships (UCI ML, Alpaydin and Kaynak 1998), enlarged.

    A fifth of each class is the test set; the seed decides which.
    """
    from sklearn.datasets import load_digits

    if spec.channels != 1:
        raise DataError("digits are grey: set channels: 1 in the recipe's dataset block")
    bunch = load_digits()
    size = (spec.image_size, spec.image_size)
    images = np.stack(
        [
            np.asarray(
                Image.fromarray(np.round(image * (255 / 16)).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
            )
            for image in bunch.images
        ]
    )[:, None]
    rest, test = _hold_back(Samples(images, bunch.target.astype(np.int64)), 0.2, spec.seed)
    train, validation = _hold_back(rest, spec.validation, spec.seed + 1)
    variant = f"scikit-learn 8x8, bilinear to {spec.image_size}x{spec.image_size}; random 80/20 split, seed {spec.seed}"
    return Dataset("digits", variant, tuple("0123456789"), train, validation, test)


def _image_folder(spec: DatasetSpec) -> Dataset:
    """Images as `train/CLASS/FILE` and `test/CLASS/FILE`, in a folder or a zip."""
    if spec.path is None:
        raise DataError(
            "this data set is read from your own files: name a folder or zip that holds train/CLASS/*.jpg and "
            "test/CLASS/*.jpg with --data PATH"
        )
    if not spec.path.exists():
        raise DataError(f"{spec.path}: no such folder or zip (from --data or the recipe's dataset.path)")
    files = _zip_files(spec.path) if spec.path.is_file() else _folder_files(spec.path)
    parts: dict[str, dict[str, list[Callable[[], bytes]]]] = {}
    for part, label, _, read in sorted(files, key=lambda file: file[:3]):
        parts.setdefault(part, {}).setdefault(label, []).append(read)
    for part in ("train", "test"):
        if part not in parts:
            raise DataError(
                f"{spec.path}: no images under {part}/CLASS/ (found: {', '.join(sorted(parts)) or 'nothing'})"
            )
    classes = tuple(sorted(parts["train"]))
    if set(parts["test"]) - set(classes):
        unknown = ", ".join(sorted(set(parts["test"]) - set(classes))[:5])
        raise DataError(f"{spec.path}: test/ has classes that train/ lacks: {unknown}")
    train = _decode(parts["train"], classes, spec)
    kept, validation = _hold_back(train, spec.validation, spec.seed + 1)
    name = spec.title or spec.path.stem
    variant = (
        f"{spec.channels}x{spec.image_size}x{spec.image_size}; published train/test split, validation seed {spec.seed}"
    )
    return Dataset(name, variant, classes, kept, validation, _decode(parts["test"], classes, spec))


def _decode(part: dict[str, list[Callable[[], bytes]]], classes: tuple[str, ...], spec: DatasetSpec) -> Samples:
    images, labels = [], []
    size = (spec.image_size, spec.image_size)
    for label, name in enumerate(classes):
        for read in part.get(name, []):
            try:
                with Image.open(io.BytesIO(read())) as image:
                    picture = image.convert("RGB" if spec.channels == 3 else "L")
            except (UnidentifiedImageError, OSError) as error:
                raise DataError(f"{spec.path}: an image of class {name} cannot be read: {error}") from error
            if picture.size != size:
                picture = picture.resize(size, Image.Resampling.BILINEAR)
            pixels = np.asarray(picture)
            images.append(pixels.transpose(2, 0, 1) if spec.channels == 3 else pixels[None])
            labels.append(label)
    return Samples(np.ascontiguousarray(np.stack(images)), np.array(labels, dtype=np.int64))


File = tuple[str, str, str, Callable[[], bytes]]  # part, class, file name, reader


def _folder_files(folder: Path) -> Iterator[File]:
    for path in folder.glob("*/*/*"):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            yield path.parts[-3], path.parts[-2], path.name, path.read_bytes


def _zip_files(path: Path) -> Iterator[File]:
    """Members of the zip, with or without one folder above `train/` and `test/`."""
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: not a zip file: {error}") from error
    with archive:
        for name in archive.namelist():
            parts = PurePosixPath(name).parts
            if len(parts) >= 3 and parts[-1].lower().endswith(IMAGE_SUFFIXES) and not parts[-1].startswith("._"):
                content = archive.read(name)
                yield parts[-3], parts[-2], parts[-1], lambda content=content: content  # type: ignore[misc]


LOADERS: dict[str, Callable[[DatasetSpec], Dataset]] = {"digits": _digits, "image_folder": _image_folder}
