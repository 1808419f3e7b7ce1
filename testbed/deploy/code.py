"""The testbed itself, as it is sent to a node: a zip of the Python files that run here."""

from __future__ import annotations

import hashlib
import os
import threading
import zipfile
from pathlib import Path

import testbed

PACKAGES = ("testbed", "devices")

_MAKING = threading.Lock()
"""Two nodes that are opened at once must not make the same file."""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first that zip knows: the same sources make the same bytes


def pack_testbed(cache: Path) -> Path:
    """The testbed's packages as a zip, to be unpacked and put on PYTHONPATH; the same files make the same bytes."""
    root = Path(testbed.__file__).parent.parent
    files = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for package in PACKAGES
        for path in sorted((root / package).rglob("*"))
        if path.suffix in (".py", ".yaml")
    }
    digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]
    archive = cache / "testbed" / f"{digest}.zip"
    with _MAKING:
        if not archive.exists():
            archive.parent.mkdir(parents=True, exist_ok=True)
            part = archive.with_name(f".{os.getpid()}.part")
            with zipfile.ZipFile(part, "w") as packed:
                for name, data in files.items():
                    packed.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
            part.rename(archive)
    return archive
