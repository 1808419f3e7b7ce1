"""Content hashes: of a file, of a folder, of a document."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

_CHUNK_BYTES = 1 << 20


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of a folder's files, in hex: where a deployed copy is kept.

    Files that begin with a dot (editors' and file managers' leavings) do not count.
    """
    files = sorted(
        path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")
    )
    return document_digest([[name.as_posix(), file_digest(folder / name)] for name in files])


def document_digest(document: object) -> str:
    """SHA-256 of a document's canonical JSON (sorted keys, no spaces), in hex."""
    return hashlib.sha256(msgspec.json.encode(document, order="deterministic")).hexdigest()
