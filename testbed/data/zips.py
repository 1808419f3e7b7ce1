"""The boundary to zipfile: the members of a zip by their right names, and one line for whatever cannot be read.

A zip says of a name that it is UTF-8, or nothing. Nothing means code page 437 by the format (APPNOTE 6.3.10, appendix
D), but most programs then write the encoding of the machine they run on.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from testbed.data.disk import MOST_BYTES, cause, one_line, status, unreadable
from testbed.errors import DataError

ENCRYPTED = 0x1
UTF8 = 0x800
UNICODE_PATH = 0x7075
"""The extra field in which Info-ZIP keeps a name as UTF-8 (APPNOTE 4.6.9)."""

READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
METHODS = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd", 99: "AES encryption"}

LETTERS_437 = bytes([*range(0x80, 0xA6), 0xE1])
"""Bytes above ASCII that are letters in code page 437 (and in 850); the others are frames, Greek and mathematics."""

ANOTHER_WAY = "unpack it and name the folder"


class Zip:
    """An open zip file.

    Attributes:
        members: what is no folder in it, by name.
        renamed: whether a name differs from what zipfile takes it for.
        as_utf8: names read as UTF-8 though the zip does not say so.
        as_437: names read as code page 437 since the zip says nothing else.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path = path
        self._archive = archive
        self.members: dict[str, zipfile.ZipInfo] = {}
        self.renamed = False
        self.as_utf8: set[str] = set()
        self.as_437: set[str] = set()
        for info in archive.infolist():
            name = self._name(info)
            if not name.endswith("/"):
                self.members[name] = info  # of several with one name the last counts, as for unzip

    def check(self, name: str) -> None:
        """Refuse a member that cannot be read, before anything else is.

        Raises:
            DataError: it is encrypted, compressed in a way that Python lacks, a link, or too large for a sample.
        """
        info, where = self.members[name], f"{self.path}: {one_line(name)}"
        if info.flag_bits & ENCRYPTED or info.compress_type == 99:
            raise DataError(f"{where} is encrypted: unpack the zip with its password and name the folder")
        if info.compress_type not in READABLE:
            method = METHODS.get(info.compress_type, f"method {info.compress_type}")
            raise DataError(f"{where} is compressed by {method}, which cannot be read here; {ANOTHER_WAY}")
        if info.create_system == 3 and stat.S_ISLNK(info.external_attr >> 16):
            raise DataError(f"{where} is a link, not a file; pack the files that links lead to (zip without -y)")
        if info.file_size > MOST_BYTES:
            raise DataError(f"{where}: {info.file_size:,} bytes are too many for one sample")
        if name in self.as_437 and not _is_437(PurePosixPath(name).parent.name):
            raise DataError(
                f"{where}: the name of its folder is neither UTF-8 nor code page 437; pack it with names in "
                f"UTF-8, or {ANOTHER_WAY}"
            )

    def read(self, name: str) -> bytes:
        """The content of a member, checked against its CRC.

        Raises:
            DataError: it cannot be read.
        """
        self.check(name)
        try:
            return self._archive.read(self.members[name])
        except Exception as error:  # whatever zipfile, zlib, bz2 and lzma raise, it is of these bytes
            raise DataError(f"{self.path}: {one_line(name)} is damaged: {cause(error)}") from error

    @contextmanager
    def stream(self, name: str) -> Iterator[IO[bytes]]:
        """A member to be read piece by piece; what reads it has its own boundary."""
        try:
            file = self._archive.open(self.members[name])
        except Exception as error:
            raise DataError(f"{self.path}: {one_line(name)} is damaged: {cause(error)}") from error
        with file:
            yield file

    def _name(self, info: zipfile.ZipInfo) -> str:
        name, stored = info.filename, info.orig_filename
        if not info.flag_bits & UTF8:
            raw = stored.encode("cp437")
            if (said := _unicode_path(info.extra, raw)) is not None:
                name = said
            elif not raw.isascii():
                name, known = _guessed(raw)
                (self.as_utf8 if known else self.as_437).add(name)
        if "/" not in name and "\\" in name:  # Compress-Archive of Windows PowerShell 5, and .NET before 4.6.1
            path = name.replace("\\", "/")
            for names in (self.as_utf8, self.as_437):
                if name in names:
                    names.add(path)
            name = path
        self.renamed |= name != info.filename
        return name


@contextmanager
def opened(path: Path) -> Iterator[Zip]:
    """A zip file, open.

    Raises:
        DataError: it is none, cannot be read, or its directory is damaged.
    """
    status(path)
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise DataError(f"{one_line(path)}: not a zip file, or one cut short: {cause(error)}") from error
    except OSError as error:
        raise unreadable(path, error) from error
    except Exception as error:  # struct.error, UnicodeDecodeError, NotImplementedError: of a damaged directory
        raise DataError(f"{one_line(path)}: the zip's directory cannot be read: {cause(error)}") from error
    with archive:
        yield Zip(path, archive)


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """The name that Info-ZIP's extra field has for this member, if it is of the name that the member has."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == UNICODE_PATH and len(field) > 5 and field[0] == 1:
            (crc,) = struct.unpack_from("<I", field, 1)
            try:
                return field[5:].decode() if crc == zlib.crc32(raw) else None
            except UnicodeDecodeError:
                return None
    return None


def _guessed(raw: bytes) -> tuple[str, bool]:
    """A name that the zip says nothing of, and whether its encoding is certain: other text is hardly ever UTF-8."""
    raw = raw.partition(b"\0")[0]
    try:
        return raw.decode(), True
    except UnicodeDecodeError:
        return raw.decode("cp437"), False


def _is_437(name: str) -> bool:
    """Whether a name read as code page 437 looks like one: its letters are those of words, some of them ASCII."""
    if name.isascii():
        return True
    raw = name.encode("cp437")
    return raw.translate(None, LETTERS_437).isascii() and any(chr(byte).isalpha() for byte in raw if byte < 0x80)
