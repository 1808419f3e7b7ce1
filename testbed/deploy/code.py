"""The testbed itself, as it is sent to a node: a zip of the Python files that run here, and of one's own plug-ins."""

from __future__ import annotations

import hashlib
import os
import threading
import zipfile
from pathlib import Path

import testbed
from devices.base.plugins import files_on_nodes
from testbed.deploy.download import mark_used

PACKAGES = ("testbed", "devices")

_MAKING = threading.Lock()
"""Two nodes that are opened at once must not make the same file."""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first that zip knows: the same sources make the same bytes


def packed_plugins() -> dict[str, Path]:
    """Name in the zip → file of each plug-in in use that runs on a node."""
    return {f"plugins/{path.name}": path for path in files_on_nodes()}


def pack_testbed(cache: Path) -> Path:
    """The testbed's packages as a zip, to be unpacked and put on PYTHONPATH; the same files make the same bytes.

    The files of plug-ins that run on a node are in it, by the names of `packed_plugins`.

    Raises:
        TestbedError: one of those cannot be loaded.
    """
    root = Path(testbed.__file__).parent.parent
    files = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for package in PACKAGES
        for path in sorted((root / package).rglob("*"))
        if path.suffix in (".py", ".yaml")
    }
    files |= {name: path.read_bytes() for name, path in packed_plugins().items()}
    digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]
    archive = cache / "testbed" / f"{digest}.zip"
    with _MAKING:
        if not zipfile.is_zipfile(archive):  # not there, or torn by a power cut
            archive.parent.mkdir(parents=True, exist_ok=True)
            part = archive.with_name(f".{os.getpid()}.part")
            with zipfile.ZipFile(part, "w") as packed:
                for name, data in files.items():
                    packed.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
            part.rename(archive)
    mark_used(archive)
    return archive
