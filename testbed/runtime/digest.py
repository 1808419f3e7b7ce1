"""Content hashes: of a file, of a document."""

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


def document_digest(document: object) -> str:
    """SHA-256 of a document's canonical JSON (sorted keys, no spaces), in hex."""
    return hashlib.sha256(msgspec.json.encode(document, order="deterministic")).hexdigest()
