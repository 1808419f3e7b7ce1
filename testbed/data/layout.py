"""How files of labelled samples are laid out: which part of a published split each is of, and which class.

Two layouts: `train/CLASS/FILE` with `test/CLASS/FILE` and maybe `val/CLASS/FILE` (a published split), and `CLASS/FILE`
(none). Either may lie under further folders.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from testbed.data.disk import one_line
from testbed.errors import DataError

PARTS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
}
"""Names of the folders of a published split, in lower case, and what each is here."""


@dataclass(frozen=True)
class Layout:
    """Where each file belongs.

    Attributes:
        files: name → (part, class, file name); the part is "" where there is no published split.
        folders: names of the split's folders, sorted.
        notes: what was left out or taken together.
    """

    files: dict[str, tuple[str, str, str]]
    folders: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def usual(self) -> bool:
        """Whether folders are named train and test, if there is a split at all."""
        return set(self.folders) <= {"train", "test"}


def laid_out(source: Path, names: Iterable[str], suffix: str) -> Layout:
    """Find out the layout.

    Args:
        source: what the user named.
        names: paths in it.
        suffix: an ending for the examples in messages.

    Raises:
        DataError: it is laid out neither way.
    """
    paths = {name: PurePosixPath(name).parts for name in names}
    named = {path[-3] for path in paths.values() if len(path) > 2 and path[-3].lower() in PARTS}
    parts = {PARTS[folder.lower()] for folder in named}
    if named & {"train", "test"} or len(parts) > 1:
        inside = {name: path for name, path in paths.items() if len(path) > 2 and path[-3] in named}
        files = {name: (PARTS[path[-3].lower()], path[-2], path[-1]) for name, path in inside.items()}
        _check_parts(source, files, named, suffix)
        outside = f"outside {', '.join(f'{folder}/' for folder in sorted(named))}"
        notes = [*_left_out(paths, files, outside), *_together(inside, files)]
        return Layout(files, tuple(sorted(named)), tuple(notes))
    inside = {name: path for name, path in paths.items() if len(path) > 1}
    if len({len(path) for path in inside.values()}) > 1:
        raise DataError(
            f"{source}: files lie at different depths; lay them out as CLASS/*{suffix}, or as "
            f"train/CLASS/*{suffix} and test/CLASS/*{suffix}"
        )
    files = {name: ("", path[-2], path[-1]) for name, path in inside.items()}
    if files and all(label.lower() in PARTS for _, label, _ in files.values()):
        found = ", ".join(sorted({f"{label}/" for _, label, _ in files.values()}))
        raise DataError(
            f"{source}: files lie right under {found}, which are parts of a split and no classes; lay them out as "
            f"train/CLASS/*{suffix} and test/CLASS/*{suffix}"
        )
    notes = [*_left_out(paths, files, "in no folder of a class"), *_together(inside, files)]
    return Layout(files, (), tuple(notes))


def _check_parts(source: Path, files: dict[str, tuple[str, str, str]], named: set[str], suffix: str) -> None:
    classes: dict[str, set[str]] = {}
    for part, label, _ in files.values():
        classes.setdefault(part, set()).add(label)
    for part in ("train", "test"):
        if part not in classes:
            otherwise = "to test on val/, name it test/" if "val" in classes and part == "test" else ""
            raise DataError(
                f"{source}: nothing under {part}/CLASS/*{suffix} (found: {'/, '.join(sorted(named))}/); "
                + (otherwise or f"without a published split files may lie as CLASS/*{suffix}")
            )
    for part in ("test", "val"):
        if unknown := sorted(classes.get(part, set()) - classes["train"]):
            raise DataError(f"{source}: {part}/ has classes that train/ lacks: {one_line(', '.join(unknown[:5]))}")


def _left_out(paths: dict[str, tuple[str, ...]], files: dict[str, tuple[str, str, str]], why: str) -> list[str]:
    left = sorted(paths.keys() - files.keys())
    if not left:
        return []
    return [
        f"{len(left)} files left out that lie {why} ({one_line(', '.join(left[:2]))}{', …' if len(left) > 2 else ''})"
    ]


def _together(inside: dict[str, tuple[str, ...]], files: dict[str, tuple[str, str, str]]) -> list[str]:
    """What is said where one class of one part lies in several folders."""
    folders: dict[tuple[str, str], set[str]] = {}
    for name, (part, label, _) in files.items():
        folders.setdefault((part, label), set()).add("/".join(inside[name][:-2]) or ".")
    shared = sorted(set().union(*(above for above in folders.values() if len(above) > 1)))
    if not shared:
        return []
    return [
        f"classes of one name taken together from {one_line(', '.join(shared[:3]))}{', …' if len(shared) > 3 else ''}"
    ]
