"""`FILE.py:NAME` in a YAML file: something of one's own in a Python file, whose path is seen from that YAML file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import pydantic

from devices.base.errors import TestbedError
from devices.base.sourcefile import blamed, kind_and_text, load_file, source_sha256
from testbed.errors import ExperimentError

FOLDER = "folder"
"""Where `load_config` puts the folder of the YAML file into pydantic's context."""


@dataclass(frozen=True)
class Imported:
    """Something by its name in a Python file. Two are equal where file, name and the file's content are."""

    file: Path
    name: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.file}:{self.name}"

    def load(self) -> Any:
        """The object itself.

        Raises:
            ExperimentError: the file cannot be loaded, or has nothing of that name.
        """
        try:
            module = load_file(self.file)
        except TestbedError as error:
            raise ExperimentError(str(error)) from error
        if not hasattr(module, self.name):
            there = [name for name, each in vars(module).items() if callable(each) and not name.startswith("_")]
            raise ExperimentError(f"{self.file}: has no {self.name}; there is {', '.join(there) or 'nothing to call'}")
        return getattr(module, self.name)

    def call(self, *arguments: Any, **named: Any) -> Any:
        """What the function returns for these arguments.

        Raises:
            ExperimentError: it is no function or raises; the text begins with `FILE:LINE` of the file.
        """
        function = self.load()
        if not callable(function):
            raise ExperimentError(f"{self.file}: {self.name} is no function but a {type(function).__name__}")
        try:
            return function(*arguments, **named)
        except TestbedError:
            raise
        except Exception as error:
            raise ExperimentError(f"{blamed(self.file, error)}: {self.name} failed: {kind_and_text(error)}") from error


def beside(text: str | Path, info: pydantic.ValidationInfo) -> Path:
    """A path as it stands in a YAML file, seen from that file's folder."""
    return Path((info.context or {}).get(FOLDER, ".")) / text


def _read(value: Any, info: pydantic.ValidationInfo) -> Imported:
    if isinstance(value, Imported):
        return value
    file, colon, name = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not (colon and file.endswith(".py") and name.isidentifier()):
        raise ValueError("expected FILE.py:NAME, the file as seen from this one")
    path = beside(file, info)
    try:
        return Imported(path, name, source_sha256(path))
    except TestbedError as error:
        raise ValueError(str(error)) from error


def _said(value: Imported) -> dict[str, str]:
    """What decides it, for digests: not where the file lies."""
    return {"file": value.file.name, "name": value.name, "sha256": value.sha256}


FileAndName: TypeAlias = Annotated[
    Imported,
    pydantic.BeforeValidator(_read),
    pydantic.PlainSerializer(_said, return_type=dict[str, str]),
    pydantic.WithJsonSchema({"type": "string"}),
]
"""A key of a YAML file that says `FILE.py:NAME`; in a dump it is the file's name, the name and the file's SHA-256."""
