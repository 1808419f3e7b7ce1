"""Files to start from: an experiment, a recipe, or the profile of a device, commented and ready to be changed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from string import Template
from typing import Literal, TypeAlias

import devices
from testbed.errors import DiskError, ExperimentError

Kind: TypeAlias = Literal["experiment", "device", "recipe"]

FOLDERS: dict[Kind, str] = {"experiment": "experiments", "device": "devices", "recipe": "experiments/train"}
DEVICE = "jetson-orin-nano"
"""The profile that a new device is like where nobody says which."""

_TEMPLATES = Path(__file__).parent / "templates"
_PROFILES = Path(devices.__file__).parent
_RECIPE = _PROFILES.parent / "experiments" / "train" / "digits-resnet18.yaml"


def write_start(kind: Kind, path: Path | None = None, like: str = DEVICE) -> Path:
    """Write a file to start from; returns where. It is named after its file, and never replaces one.

    Args:
        kind: What it is of.
        path: Where; `my-KIND.yaml` where such files lie, else here.
        like: Of a device: the profile that ships and is to be copied.

    Raises:
        ExperimentError: there is a file already, its name is none for results, or there is no such profile.
        DiskError: it cannot be written.
    """
    usual = Path(FOLDERS[kind])
    target = path or (usual if usual.is_dir() else Path()) / f"my-{kind}.yaml"
    name = re.sub(r"[^a-z0-9-]+", "-", target.stem.lower()).strip("-")
    if not name:
        raise ExperimentError(f"{target}: the file's name becomes that of the {kind}: letters, digits and dashes")
    text = _device(name, like) if kind == "device" else _filled(kind, name, target.parent)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ExperimentError(f"{target}: there is such a file already; name another one") from error
    except OSError as error:
        raise DiskError.of(target, error) from error
    return target


def _device(name: str, like: str) -> str:
    """A profile that ships, under another name."""
    source = _PROFILES / f"{like}.yaml"
    if not source.is_file():
        there = ", ".join(sorted(path.stem for path in _PROFILES.glob("*.yaml")))
        raise ExperimentError(f"no profile {like!r} ships; there is {there}")
    text = source.read_text(encoding="utf-8").replace("Copy this file and change what", "Change what")
    return re.sub(r"^name: .*$", f"name: {name}", text, count=1, flags=re.MULTILINE)


def _filled(kind: Kind, name: str, folder: Path) -> str:
    def seen(path: Path) -> str:
        """A path as a file in the folder names it."""
        return os.path.relpath(path, folder.resolve())

    text = (_TEMPLATES / f"{kind}.yaml").read_text(encoding="utf-8")
    paths = {"edge": _PROFILES / "emulated-orin-nano.yaml", "cloud": _PROFILES / "host.yaml", "recipe": _RECIPE}
    return Template(text).substitute(name=name, **{key: seen(path) for key, path in paths.items()})
