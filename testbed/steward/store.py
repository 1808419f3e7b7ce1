"""What the testbed keeps on a node, by content hash: files, folders made of them, environments.

Everything is written under another name and renamed when it is whole and on the disk: what was interrupted never
counts, not even by a board that loses its power.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shutil
import sys
import sysconfig
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from testbed.steward.kept import CODES, PART, Gone, Kept

CHUNK = 1 << 18
LISTEN_S = 0.5
KINDS = ("runs", "outputs", "folders", "code", "environments", "files")
"""Files last: what was made of them has other names of the same content."""


class StoreError(Exception):
    """What arrived is not what was announced."""


class Store:
    """The node's folder: `files/SHA256`, `folders/DIGEST/`, `code/SHA256/`, `environments/KEY/`, `runs/RUN/NODE/`.

    `listen` is called now and then while the disk is waited for, which a memory card can make long. What is asked for
    is noted as used `now`.
    """

    def __init__(
        self, root: Path, listen: Callable[[], None] = lambda: None, now: Callable[[], float] = time.time
    ) -> None:
        self.root, self._listen = root, listen
        self.kept = Kept(root, now, listen)
        for name in KINDS:
            (root / name).mkdir(parents=True, exist_ok=True)

    def drop_unused(self) -> dict[str, Gone]:
        """Remove what no campaign has used for long; returns what went, by kind."""
        return self.kept.drop_unused(KINDS, {"code": CODES})

    def clear(self, *, runs: bool) -> tuple[dict[str, Gone], dict[Path, int]]:
        """Remove all of it, what workers of lost runs recorded only if `runs`.

        Returns:
            What went, by kind, and the bytes in each folder `RUN/NODE` that stays.
        """
        found = {folder: _recorded_bytes(folder) for folder in sorted((self.root / "runs").glob("*/*"))}
        lost = {} if runs else {folder: size for folder, size in found.items() if size}
        if lost:
            for run in {folder.parent for folder in found} - {folder.parent for folder in lost}:
                self.kept.remove(run)
        # Files first: their bytes are told of what was made of them.
        removed = self.kept.clear([*reversed(KINDS[1:]), *(() if lost else ("runs",))])
        return removed, lost

    @property
    def free_bytes(self) -> int:
        """Space that this user may still fill."""
        room = os.statvfs(self.root)
        return room.f_bavail * room.f_frsize

    def file(self, sha256: str) -> Path:
        """Where a file of this content is, or would be."""
        return self.root / "files" / sha256

    def lacking(self, sizes: Mapping[str, int]) -> list[str]:
        """Those of the files (hash → bytes) that are not here whole."""
        missing = [sha for sha, size in sizes.items() if not _is_file_of(self.file(sha), size)]
        for sha256 in sizes.keys() - set(missing):
            self.kept.used(self.file(sha256))
        return missing

    def put(self, sha256: str, size: int, read: Callable[[int], bytes]) -> None:
        """Take in a file; `read(n)` gives its next 1 to n bytes.

        Raises:
            StoreError: its hash is another.
            OSError: it cannot be written. All its bytes have been read, whatever happens.
        """
        digest, left = hashlib.sha256(), size
        part = self.file(sha256).with_name(f"{sha256}.{os.getpid()}{PART}")
        try:
            with part.open("wb") as file:
                while left:
                    data = read(min(left, CHUNK))
                    left -= len(data)
                    digest.update(data)
                    file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if digest.hexdigest() != sha256:
                raise StoreError(
                    f"a file arrived with sha256 {digest.hexdigest()[:12]}… instead of {sha256[:12]}…; try again"
                )
            part.chmod(0o444)
            self.kept.used(part)
            part.rename(self.file(sha256))
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            while left:
                left -= len(read(min(left, CHUNK)))

    def folder(self, digest: str) -> Path | None:
        """`folders/DIGEST`, if it is here."""
        target = self.root / "folders" / digest
        if not target.exists():
            return None
        self.kept.used(target)
        return target

    def assemble(self, digest: str, files: Mapping[str, str]) -> Path:
        """Make `folders/DIGEST` of files (name → hash) that are here; returns it."""
        target = self.folder(digest)
        if target is None:
            target = self.root / "folders" / digest
            with self._made(target) as part:
                for name, sha256 in files.items():
                    self._link(sha256, part / name)
        return target

    def unpack(self, sha256: str) -> Path:
        """Unpack a zip that is here, so that its packages can be imported; returns the folder."""
        target = self.root / "code" / sha256
        if not target.exists():
            with self._made(target) as part, zipfile.ZipFile(self.file(sha256)) as packed:
                packed.extractall(part)
        self.kept.used(target)
        return target

    def interpreter(self, key: str) -> Path | None:
        """The Python of an environment, if it is here."""
        environment = self.root / "environments" / key
        if not _python(environment).exists():
            return None
        self.kept.used(environment)
        return _python(environment)

    def environment(self, key: str, wheels: Mapping[str, str], fill: Callable[[Path], None]) -> Path:
        """Make a virtual environment, with `wheels/` (name → hash) in it, and fill it; returns its interpreter.

        It sees the packages of the interpreter that runs this. It is made without pip, which Debian and JetPack have
        in a package of its own (python3-venv). An environment that `fill` raises for never counts.
        """
        import venv  # here, so that a Python without it can still say so

        target = self.root / "environments" / key
        with self._made(target) as part:
            venv.EnvBuilder(system_site_packages=True, with_pip=False, symlinks=True).create(part)
            if sys.prefix != sys.base_prefix:  # `--system-site-packages` means the base interpreter's
                here = sysconfig.get_paths()
                own = Path(sysconfig.get_path("purelib", vars={"base": str(part), "platbase": str(part)}))
                lines = dict.fromkeys((here["purelib"], here["platlib"]))
                (own / "node.pth").write_text("".join(f"{path}\n" for path in lines))
            for name, sha256 in wheels.items():
                self._link(sha256, part / "wheels" / name)
            fill(part)
        return _python(target)

    @contextlib.contextmanager
    def _made(self, target: Path) -> Iterator[Path]:
        """A folder to fill, which becomes the target when all went well."""
        part = target.with_name(f"{target.name}.{os.getpid()}{PART}")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            yield part
            self._sync(part)
            self.kept.used(part)
            part.rename(target)
            self._sync(target.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _sync(self, folder: Path) -> None:
        """Wait until what was written to the folder's file system is on the disk.

        One call for thousands of files (syncfs, Linux 2.6.39), in a thread, since it cannot be interrupted.

        Raises:
            OSError: the disk failed.
        """
        failed: list[int] = []
        thread = threading.Thread(target=_syncfs, args=(folder, failed), daemon=True)
        thread.start()
        while thread.is_alive():
            self._listen()
            thread.join(LISTEN_S)
        if failed:
            raise OSError(failed[0], os.strerror(failed[0]), str(folder))

    def _link(self, sha256: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(self.file(sha256), target)
        except PermissionError:  # a file system without links
            shutil.copyfile(self.file(sha256), target)


def _python(environment: Path) -> Path:
    return environment / "bin" / "python"


def _recorded_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _is_file_of(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _syncfs(folder: Path, failed: list[int]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(folder, os.O_RDONLY)
    try:
        if libc.syncfs(fd):
            failed.append(ctypes.get_errno())
    finally:
        os.close(fd)
