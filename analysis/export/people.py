"""Who made the results and under which licence they go out: as told, or as CITATION.cff says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from testbed.errors import RecordError

_ORCID = re.compile(r"(?:https://orcid\.org/)?(\d{4}-\d{4}-\d{4}-\d{3}[\dX])")
_SPDX = "https://spdx.org/licenses/"


@dataclass(frozen=True)
class Author:
    """A person, or an organisation; `orcid` is a whole address."""

    name: str
    orcid: str | None = None
    organisation: bool = False


def authors(told: Sequence[str], citation: Path) -> list[Author]:
    """Each as `Name` or `Name, ORCID`; where nobody is told, those of CITATION.cff.

    Raises:
        RecordError: nobody is told and CITATION.cff names nobody, or an ORCID is none.
    """
    if told:
        return [_author(text) for text in told]
    found = [_cited(entry) for entry in _citation(citation).get("authors", [])]
    if not found:
        raise RecordError(f"whose results are these? Say --author NAME, or give {citation} authors")
    return found


def licence(told: str | None, citation: Path) -> str:
    """The address of a licence: of an SPDX id, or as told; where none is, that of CITATION.cff.

    Raises:
        RecordError: none is told and CITATION.cff has none.
    """
    name = told or _citation(citation).get("license")
    if not isinstance(name, str):
        raise RecordError(f"under which licence? Say --license CC-BY-4.0 or another, or give {citation} one")
    return name if name.startswith(("http://", "https://")) else f"{_SPDX}{name}"


def _author(text: str) -> Author:
    name, comma, orcid = (part.strip() for part in text.partition(","))
    if not comma:
        return Author(name)
    found = _ORCID.fullmatch(orcid)
    if not name or found is None:
        raise RecordError(f"--author {text}: expected NAME, or NAME, 0000-0000-0000-0000 (an ORCID)")
    return Author(name, f"https://orcid.org/{found[1]}")


def _cited(entry: dict[str, Any]) -> Author:
    if "name" in entry:
        return Author(str(entry["name"]), organisation=True)
    name = " ".join(str(entry[key]) for key in ("given-names", "family-names") if key in entry)
    return Author(name, entry.get("orcid"))


def _citation(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: no citation file: {' '.join(str(error).split())[:200]}") from error
    return found if isinstance(found, dict) else {}
