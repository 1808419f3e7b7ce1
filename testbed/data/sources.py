"""The files that data sets are published as: what they are called, where they come from, and their checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.data.disk import exists, is_file, unreadable
from testbed.errors import DataError

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Archive:
    """A file as its publisher has it, with the MD5 that tells a whole download from a broken one."""

    name: str
    url: str
    md5: str

    def in_folder(self, data: Path) -> Path | None:
        """The archive in a folder (or in `download/` there, where SpikingJelly puts it), or `data` itself."""
        for path in (data, data / self.name, data / "download" / self.name):
            if path.name == self.name and is_file(path):
                return path
        return None

    def verify(self, path: Path) -> None:
        """Check the whole file.

        Raises:
            DataError: it cannot be read, or is not what was published.
        """
        digest = hashlib.md5(usedforsecurity=False)
        try:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
        except OSError as error:
            raise unreadable(path, error) from error
        if digest.hexdigest() != self.md5:
            raise DataError(
                f"{path}: MD5 {digest.hexdigest()} is not the published {self.md5}; "
                f"the download was cut short or changed: get it again from {self.url}"
            )


def missing(title: str, archives: Sequence[Archive], data: Path | None, otherwise: str = "") -> DataError:
    """The one message about files that are not there: which, from where, which checksum, where to put them."""
    files = ", ".join(f"{archive.name} from {archive.url} (MD5 {archive.md5})" for archive in archives)
    where = "name the folder you keep it in with --data DIR" if data is None else f"put it into {data}"
    if data is not None and not exists(data):
        where = f"{data} does not exist: put it into a folder and name that with --data DIR"
    return DataError(f"{title} is not there: get {files}; {where}{otherwise}")
