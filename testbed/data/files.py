"""Files of labelled samples in folders and zips: finding them, whichever way they are laid out, and reading them.

Two layouts: `train/CLASS/FILE` with `test/CLASS/FILE` (a published split), and `CLASS/FILE` (none). Either may lie
under further folders. What macOS and file managers leave behind is skipped.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from testbed.data.samples import at_most
from testbed.errors import DataError
from testbed.runtime.digest import document_digest

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
PARTS = ("train", "test")


@dataclass(frozen=True)
class Listing:
    """Files of labelled samples, in the order of their labels.

    Attributes:
        source: what the user named.
        containers: the folder or zip of each file.
        names: paths inside the containers.
        parts: "train", "test", or "" where there is no published split.
        labels: int64 [N], positions in `classes`.
        digest: of names, sizes and times: what is prepared from the files is kept under it.
    """

    source: Path
    containers: tuple[Path, ...]
    names: tuple[str, ...]
    parts: tuple[str, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    digest: str

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


def list_files(source: Path, suffixes: tuple[str, ...], containers: Sequence[Path] | None = None) -> Listing:
    """Find the samples of a folder or zip.

    Args:
        source: what the user named.
        suffixes: lower-case endings of the files that count.
        containers: folders and zips to search, where that is not `source` itself.

    Raises:
        DataError: there is no such source, or it is laid out neither way.
    """
    if not source.exists():
        raise DataError(f"{source}: no such folder or zip (from --data or the recipe's dataset.path)")
    found: dict[str, Path] = {}
    digests = []
    for container in containers or [source]:
        digest, names = _zip_names(container, suffixes) if container.is_file() else _folder_names(container, suffixes)
        digests.append(digest)
        found.update(dict.fromkeys(names, container))
    paths = {name: PurePosixPath(name).parts for name in found}
    if any(len(path) > 2 and path[-3] in PARTS for path in paths.values()):
        files = {name: path[-3:] for name, path in paths.items() if len(path) > 2 and path[-3] in PARTS}
    else:
        files = {name: ("", *path[-2:]) for name, path in paths.items() if len(path) > 1}
        if len({len(paths[name]) for name in files}) > 1:
            raise DataError(
                f"{source}: files lie at different depths; lay them out as CLASS/*{suffixes[0]}, or as "
                f"train/CLASS/*{suffixes[0]} and test/CLASS/*{suffixes[0]}"
            )
    if not files:
        raise DataError(f"{source}: no {'/'.join(suffixes)} files under CLASS/ or under train/CLASS/ and test/CLASS/")
    classes = _classes(source, files, suffixes[0])
    number = {label: position for position, label in enumerate(classes)}
    ordered = sorted(files, key=lambda name: files[name])
    return Listing(
        source=source,
        containers=tuple(found[name] for name in ordered),
        names=tuple(ordered),
        parts=tuple(files[name][0] for name in ordered),
        labels=np.array([number[files[name][1]] for name in ordered], dtype=np.int64),
        classes=classes,
        digest=document_digest(digests),
    )


def _classes(source: Path, files: dict[str, tuple[str, ...]], suffix: str) -> tuple[str, ...]:
    """Check the layout and return the sorted class names. `files` is name → (part, class, file name)."""
    found: dict[str, set[str]] = {}
    for part, label, _ in files.values():
        found.setdefault(part, set()).add(label)
    if "" not in found:
        for part in PARTS:
            if part not in found:
                raise DataError(
                    f"{source}: nothing under {part}/CLASS/*{suffix} (found: {', '.join(sorted(found))}/); "
                    f"without a published split files may lie as CLASS/*{suffix}"
                )
        if unknown := sorted(found["test"] - found["train"]):
            raise DataError(f"{source}: test/ has classes that train/ lacks: {', '.join(unknown[:5])}")
    classes = tuple(sorted(set().union(*found.values())))
    if len(classes) < 2:
        raise DataError(f"{source}: files of only one class ({classes[0]}); a folder per class is needed")
    return classes


def source_digest(source: Path) -> str:
    """Digest of the names, sizes and times of a source's files: of everything in a folder, or of one archive.

    Raises:
        DataError: there is no such source.
    """
    if not source.exists():
        raise DataError(f"{source}: no such folder or archive (from --data or the recipe's dataset.path)")
    if source.is_file():
        return _file_digest(source)
    return _folder_names(source, ("",))[0]


def _file_digest(path: Path) -> str:
    stat = path.stat()
    return document_digest([path.name, stat.st_size, stat.st_mtime_ns])


def _wanted(path: Sequence[str], suffixes: tuple[str, ...]) -> bool:
    """Whether a path is of a sample and no leaving of macOS or a file manager."""
    return path[-1].lower().endswith(suffixes) and not any(part.startswith(".") or part == "__MACOSX" for part in path)


def _folder_names(folder: Path, suffixes: tuple[str, ...]) -> tuple[str, list[str]]:
    stats = []
    for parent, _, names in os.walk(folder, followlinks=True):
        for name in names:
            inside = Path(parent, name).relative_to(folder)
            if _wanted(inside.parts, suffixes):
                stat = (folder / inside).stat()
                stats.append((inside.as_posix(), stat.st_size, stat.st_mtime_ns))
    stats.sort()
    return document_digest(stats), [name for name, _, _ in stats]


def _zip_names(path: Path, suffixes: tuple[str, ...]) -> tuple[str, list[str]]:
    with open_zip(path) as archive:
        names = [name for name in archive.namelist() if _wanted(PurePosixPath(name).parts, suffixes)]
    return _file_digest(path), names


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip file.

    Raises:
        DataError: it is none.
    """
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: not a zip file: {error}") from error


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of a zip's member, checked against its CRC.

    Raises:
        DataError: the member is damaged.
    """
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{archive.filename}: {name} is damaged: {error}") from error


def contents(listing: Listing) -> Iterator[tuple[str, bytes]]:
    """The files in order: (name for messages, content).

    Raises:
        DataError: one is damaged.
    """
    with ExitStack() as stack:
        archives: dict[Path, zipfile.ZipFile] = {}
        for container, name in zip(listing.containers, listing.names, strict=True):
            if container.is_dir():
                yield str(container / name), (container / name).read_bytes()
                continue
            if container not in archives:
                archives[container] = stack.enter_context(open_zip(container))
            yield f"{container}: {name}", read_member(archives[container], name)
