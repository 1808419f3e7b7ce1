"""The boundary to tarfile: the files of a tar.gz, one after another, and one line for one that cannot be unpacked."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from testbed.data.disk import cause, unreadable
from testbed.errors import DataError


def tarred(archive: Path, stream: IO[bytes] | None = None) -> Iterator[tuple[str, bytes]]:
    """The names and contents of the files in a tar.gz.

    Args:
        archive: the file; named in messages.
        stream: where the tar.gz is, if not in the file itself.

    Raises:
        DataError: it cannot be unpacked.
    """
    try:
        with tarfile.open(archive if stream is None else None, "r|gz", fileobj=stream) as tar:
            for member in tar:
                if (file := tar.extractfile(member)) is not None:
                    yield member.name, file.read()
    except PermissionError as error:
        raise unreadable(archive, error) from error
    except Exception as error:  # TarError, EOFError, zlib.error, BadGzipFile, and zipfile's own where it is in a zip
        raise DataError(f"{archive}: cannot be unpacked: {cause(error)}") from error
