"""Files of labelled samples in folders and zips: finding them, whichever way they are laid out, and reading them.

What macOS and file managers leave behind is skipped. Anything else that is not read is said in the listing's notes.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from testbed.data import zips
from testbed.data.disk import either_status, exists, is_file, is_leaving, one_line, read, sample_status, status, walk
from testbed.data.layout import laid_out
from testbed.data.samples import at_most
from testbed.errors import DataError
from testbed.runtime.digest import document_digest

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
OTHER_IMAGES = (".gif", ".ppm", ".pgm", ".pbm", ".jpe", ".jfif", ".jp2", ".avif", ".heic", ".npy")
"""Endings of images that are not read; they are counted, so that nothing goes missing without a word."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """Files of labelled samples, in the order of their labels.

    Attributes:
        source: what the user named.
        containers: the folder or zip of each file.
        names: paths inside the containers.
        parts: "train", "val", "test", or "" where there is no published split.
        labels: int64 [N], positions in `classes`.
        digest: of names, sizes and times: what is prepared from the files is kept under it.
        notes: what was left out or guessed, for the variant.
    """

    source: Path
    containers: tuple[Path, ...]
    names: tuple[str, ...]
    parts: tuple[str, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    digest: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def split(self) -> bool:
        """Whether there is a published split."""
        return "" not in self.parts

    def take(self, index: NDArray[np.int64]) -> Listing:
        """The files at these positions."""
        names = tuple(self.names[i] for i in index)
        return replace(
            self,
            containers=tuple(self.containers[i] for i in index),
            names=names,
            parts=tuple(self.parts[i] for i in index),
            labels=self.labels[index],
            digest=document_digest([self.digest, names]),
        )

    def at_most(self, count: int | None, seed: int) -> Listing:
        """At most so many files of each class in each part, chosen by seed."""
        if count is None:
            return self
        parts = np.array(self.parts)
        groups = [np.flatnonzero(parts == part) for part in sorted(set(self.parts))]
        return self.take(np.sort(np.concatenate([group[at_most(self.labels[group], count, seed)] for group in groups])))

    def of_classes(self, classes: Sequence[str]) -> Listing:
        """The files of these classes, labelled in this order."""
        number = {self.classes.index(name): position for position, name in enumerate(classes)}
        kept = self.take(np.flatnonzero(np.isin(self.labels, list(number))))
        labels = np.array([number[label] for label in kept.labels], dtype=np.int64)
        return replace(kept, labels=labels, classes=tuple(classes))


@dataclass(frozen=True)
class _Found:
    """The samples of one folder or zip: their names, a digest that tells them from others, and what is to be said."""

    names: list[str]
    digest: str
    notes: tuple[str, ...]


def list_files(source: Path, suffixes: tuple[str, ...], containers: Sequence[Path] | None = None) -> Listing:
    """Find the samples of a folder or zip.

    Args:
        source: what the user named.
        suffixes: lower-case endings of the files that count.
        containers: folders and zips to search, where that is not `source` itself.

    Raises:
        DataError: there is no such source, it is laid out neither way, or one of its files cannot be read.
    """
    if not exists(source):
        if source.is_symlink():
            status(source)
        raise DataError(f"{one_line(source)}: no such folder or zip (from --data or the recipe's dataset.path)")
    within: dict[str, Path] = {}
    found = []
    for container in containers or [source]:
        found.append(_in_zip(container, suffixes) if is_file(container) else _in_folder(container, suffixes))
        within.update(dict.fromkeys(found[-1].names, container))
    layout = laid_out(source, within, suffixes[0])
    files = layout.files
    notes = (*(note for one in found for note in one.notes), *layout.notes)
    if not files:
        raise DataError(
            f"{source}: no {'/'.join(suffixes)} files under CLASS/ or under train/CLASS/ and test/CLASS/"
            + "".join(f"; {note}" for note in notes)
        )
    classes = tuple(sorted({label for _, label, _ in files.values()}))
    if len(classes) < 2:
        raise DataError(f"{source}: files of only one class ({classes[0]}); a folder per class is needed")
    for note in notes:
        logger.warning("%s: %s", source, note)
    number = {label: position for position, label in enumerate(classes)}
    ordered = sorted(files, key=lambda name: files[name])
    digests = [one.digest for one in found]
    return Listing(
        source=source,
        containers=tuple(within[name] for name in ordered),
        names=tuple(ordered),
        parts=tuple(files[name][0] for name in ordered),
        labels=np.array([number[files[name][1]] for name in ordered], dtype=np.int64),
        classes=classes,
        digest=document_digest(digests if layout.usual else [digests, layout.folders]),
        notes=notes,
    )


def source_digest(source: Path) -> str:
    """Digest of the names, sizes and times of a source's files: of everything in a folder, or of one archive.

    Raises:
        DataError: there is no such source.
    """
    if not exists(source):
        raise DataError(f"{one_line(source)}: no such folder or archive (from --data or the recipe's dataset.path)")
    if is_file(source):
        return _file_digest(source)
    stats = []
    for name in walk(source):
        found = either_status(source / name)
        stats.append((os.fsencode(name).decode("utf-8", "backslashreplace"), found.st_size, found.st_mtime_ns))
    return document_digest(sorted(stats))


def _file_digest(path: Path) -> str:
    found = status(path)
    return document_digest([path.name, found.st_size, found.st_mtime_ns])


def _in_folder(folder: Path, suffixes: tuple[str, ...]) -> _Found:
    stats: list[tuple[str, int, int]] = []
    loops: list[str] = []
    others: list[str] = []
    for name in walk(folder, loops):
        if not name.lower().endswith(suffixes):
            others.append(name)
            continue
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{one_line(folder / name)}: this name is not UTF-8; rename it (convmv does)") from error
        found = sample_status(folder / name)
        stats.append((name, found.st_size, found.st_mtime_ns))
    stats.sort()
    notes = [f"link {one_line(name)} leads back to a folder above it: not followed" for name in sorted(loops)]
    return _Found([name for name, _, _ in stats], document_digest(stats), (*_not_read(others, suffixes), *notes))


def _in_zip(path: Path, suffixes: tuple[str, ...]) -> _Found:
    with zips.opened(path) as archive:
        files = [name for name in archive.members if not any(map(is_leaving, PurePosixPath(name).parts))]
        names = [name for name in files if name.lower().endswith(suffixes)]
        for name in names:
            archive.check(name)
        notes = _not_read([name for name in files if not name.lower().endswith(suffixes)], suffixes)
        for guessed, encoding in ((archive.as_utf8, "UTF-8"), (archive.as_437, "code page 437")):
            if count := len(guessed.intersection(names)):
                notes.append(f"{count} names read as {encoding}, of which the zip says nothing")
        digest = _file_digest(path)
        return _Found(names, document_digest([digest, names]) if archive.renamed else digest, tuple(notes))


def _not_read(names: Sequence[str], suffixes: tuple[str, ...]) -> list[str]:
    """What is said of images in formats that are not read."""
    if suffixes != IMAGE_SUFFIXES:
        return []
    counts = Counter(suffix for name in names if (suffix := PurePosixPath(name).suffix.lower()) in OTHER_IMAGES)
    return [f"{count} {suffix} files left out: not read here" for suffix, count in sorted(counts.items())]


def contents(listing: Listing) -> Iterator[tuple[str, bytes]]:
    """The files in order: (name for messages, content).

    Raises:
        DataError: one cannot be read.
    """
    with ExitStack() as stack:
        archives: dict[Path, zips.Zip | None] = {}
        for container, name in zip(listing.containers, listing.names, strict=True):
            if container not in archives:
                archives[container] = stack.enter_context(zips.opened(container)) if is_file(container) else None
            if (archive := archives[container]) is None:
                yield one_line(container / name), read(container / name)
            else:
                yield f"{container}: {one_line(name)}", archive.read(name)
