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
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

CHUNK = 1 << 18
LISTEN_S = 0.5


class StoreError(Exception):
    """What arrived is not what was announced."""


class Store:
    """The node's folder: `files/SHA256`, `folders/DIGEST/`, `code/SHA256/`, `environments/KEY/`, `runs/RUN/NODE/`.

    `listen` is called now and then while the disk is waited for, which a memory card can make long.
    """

    def __init__(self, root: Path, listen: Callable[[], None] = lambda: None) -> None:
        self.root, self._listen = root, listen
        for name in ("files", "folders", "code", "environments", "runs"):
            (root / name).mkdir(parents=True, exist_ok=True)

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
        return [sha for sha, size in sizes.items() if not _is_file_of(self.file(sha), size)]

    def put(self, sha256: str, size: int, read: Callable[[int], bytes]) -> None:
        """Take in a file; `read(n)` gives its next 1 to n bytes.

        Raises:
            StoreError: its hash is another.
            OSError: it cannot be written. All its bytes have been read, whatever happens.
        """
        digest, left = hashlib.sha256(), size
        part = self.file(sha256).with_name(f"{sha256}.{os.getpid()}.part")
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
                raise StoreError(f"a file arrived with sha256 {digest.hexdigest()[:12]}… instead of {sha256[:12]}…")
            part.chmod(0o444)
            part.rename(self.file(sha256))
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            while left:
                left -= len(read(min(left, CHUNK)))

    def assemble(self, digest: str, files: Mapping[str, str]) -> Path:
        """Make `folders/DIGEST` of files (name → hash) that are here; returns it."""
        target = self.root / "folders" / digest
        if not target.exists():
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
        return target

    def interpreter(self, key: str) -> Path:
        """The Python of an environment that is here, or would be."""
        return self.root / "environments" / key / "bin" / "python"

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
        return self.interpreter(key)

    @contextlib.contextmanager
    def _made(self, target: Path) -> Iterator[Path]:
        """A folder to fill, which becomes the target when all went well."""
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            yield part
            self._sync(part)
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
