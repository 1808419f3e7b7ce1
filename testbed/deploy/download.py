"""Wheels for a node's Python, which the workstation downloads once and keeps."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from testbed.deploy.wheels import Python
from testbed.errors import DeployError
from testbed.runtime.digest import document_digest

POLL_S = 0.2
_CACHING = threading.Lock()
"""Two nodes that are opened at once must not download the same twice."""
_NOT_FETCHED = re.compile(r"Could not fetch URL (\S+): (.+)")
"""In pip's log, of each index and each reason; a 404 or 410 is an index that answers."""
_NO_NETWORK = re.compile(
    r"connection (error|broken|refused|reset|aborted)|timed? ?out|unreachable|name resolution|name or service not known"
    r"|max retries|proxyerror|cannot connect to proxy|certificate verify failed",
    re.IGNORECASE,
)
_NO_FIT = re.compile(r"No matching distribution|Could not find a version|ResolutionImpossible|Cannot install")
_SHOWN = 300
"""As much of what pip says as fits a line."""


def cache_folder() -> Path:
    """Where the workstation keeps wheels."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "neucodex"


@contextlib.contextmanager
def caching(cache: Path) -> Iterator[None]:
    """What is written to the workstation's cache.

    Raises:
        DeployError: it could not be.
    """
    try:
        yield
    except OSError as error:
        raise DeployError(
            f"the cache {cache} of this workstation cannot be used ({_said(error)}); let your user write "
            "there and make room, or name another folder in the environment variable XDG_CACHE_HOME"
        ) from error


def mark_used(path: Path) -> None:
    """Note that something in the cache is used, so that it stays; a cache that only others write has no need."""
    with contextlib.suppress(OSError):
        os.utime(path)


def folder_of(wanted: Sequence[Requirement], python: Python, cache: Path) -> Path:
    """Where the wheels of packages for a node's Python are kept, once they are downloaded."""
    key = document_digest([sorted(map(str, wanted)), python.short, python.machine, list(python.libc)])[:16]
    return cache / "wheels" / key


def download(wanted: Sequence[Requirement], python: Python, cache: Path, stop: threading.Event) -> list[Path]:
    """Wheels of packages, of all that they need and of pip, for a node's Python; downloaded once.

    What is damaged in the cache is downloaded again.

    Raises:
        DeployError: there are none, they cannot be downloaded or kept, or `stop` was set meanwhile.
    """
    folder = folder_of(wanted, python, cache)
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    with _CACHING, caching(cache):
        damage = _damage(folder, wanted) if folder.exists() else None
        if damage is not None:
            shutil.rmtree(folder)
        if not folder.exists():
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            try:
                _fill(part, wanted, python, folder, stop)
                if not folder.exists():  # another process may have been first
                    part.rename(folder)
            except DeployError as error:
                raise DeployError(f"{damage} in {folder}, and {error}" if damage else str(error)) from error
            finally:
                shutil.rmtree(part, ignore_errors=True)
        mark_used(folder)
        return sorted(folder.glob("*.whl"))


def _said(error: OSError) -> str:
    where = error.filename2 or error.filename
    return f"{error.strerror}: {where}" if where else str(error.strerror or error)


def unpacked_bytes(wheel: Path) -> int:
    """Room that a wheel takes once it is installed; a few times that of its file."""
    with zipfile.ZipFile(wheel) as packed:
        return sum(member.file_size for member in packed.infolist())


def _fill(part: Path, wanted: Sequence[Requirement], python: Python, folder: Path, stop: threading.Event) -> None:
    log = part / "pip.log"
    words = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python.short]
    platforms = [word for platform in python.platforms() for word in ("--platform", platform)]
    quiet = ["--quiet", "--disable-pip-version-check", "--log", str(log), "--dest", str(part)]
    pip = [sys.executable, "-m", "pip", "download"]
    code, said = _run([*pip, *quiet, *words, *platforms, *map(str, wanted), "pip"], stop)
    if stop.is_set():
        raise DeployError("the download was stopped")
    if code:
        raise DeployError(_why(said, log, wanted, python, folder))
    log.unlink(missing_ok=True)
    if damage := _damage(part, wanted):
        raise DeployError(f"what pip downloaded cannot be used: {damage}; try again, and see what the package index is")


def _why(said: str, log: Path, wanted: Sequence[Requirement], python: Python, folder: Path) -> str:
    """Why pip downloaded nothing, and what to do."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    error = (errors[:1] if errors and errors[0] != "Exception:" else lines[-1:] or ["without a word"])[0]
    if "No module named pip" in said:
        return f"this workstation's Python has no pip; type here: {sys.executable} -m ensurepip"
    if unreached := _unreached(lines, log):
        return (
            f"this workstation reaches no package index that has them ({unreached[:_SHOWN]}). Be online once, and what "
            f"is downloaded stays in {folder.parent}. Or on a machine that is online, in bash: "
            f"{_by_hand(wanted, python, folder.name)}; then copy the folder {folder.name} into {folder.parent}"
        )
    if _NO_FIT.search(said):
        newest = re.sub(r"from versions: .*, ", "the newest that fits: ", error)
        warned = [line for line in lines if line.startswith("WARNING: ") and "cache" not in line][:1]
        return (
            f"the package index has none that fit Python {python.short} on {python.machine} with "
            f"{' '.join(python.libc)} (pip: {'; '.join([newest, *warned])[:_SHOWN]}); name another interpreter as "
            "`python:` in the profile, or give pip another index (PIP_INDEX_URL)"
        )
    return f"pip download failed ({error[:_SHOWN]})"


def _unreached(lines: Sequence[str], log: Path) -> str | None:
    """Which index did not answer and why; None where all did."""
    logged = log.read_text(errors="replace").splitlines() if log.exists() else []
    for url, reason in (found.groups() for line in logged if (found := _NOT_FETCHED.search(line))):
        if not re.match(r"(404|410)\b", reason):
            # The host alone: the rest may hold a password.
            where, cause = urlsplit(url), reason.removesuffix(" - skipping")
            host = f"{where.hostname}:{where.port}" if where.port else where.hostname
            cause = cause.rpartition(": ")[2].rstrip("')\"") if "Caused by" in cause else cause
            return f"{host}: {cause}"
    return next((line for line in lines if _NO_NETWORK.search(line)), None)


def _by_hand(wanted: Sequence[Requirement], python: Python, key: str) -> str:
    newest, oldest = python.platforms()[0], python.platforms()[-1]
    first, last = newest.split("_")[2], oldest.split("_")[2]
    platform = newest if first == last else newest.replace(f"_{first}_", f"_{{{first}..{last}}}_", 1)
    packages = " ".join(f"'{requirement}'" for requirement in wanted)
    return (
        f"python3 -m pip download --dest {key} --only-binary=:all: --implementation cp --python-version "
        f"{python.short} --platform={platform} {packages} pip"
    )


def _damage(folder: Path, wanted: Sequence[Requirement]) -> str | None:
    """What is wrong with a folder of wheels; None where it is whole."""
    there = sorted(folder.glob("*.whl"))
    for wheel in there:
        try:
            with zipfile.ZipFile(wheel) as packed:
                torn = packed.testzip() is not None
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
            torn = True
        if torn:
            return f"{wheel.name} is damaged"
    names = {canonicalize_name(wheel.name.partition("-")[0]) for wheel in there}
    lacks = [name for name in (*(each.name for each in wanted), "pip") if canonicalize_name(name) not in names]
    return f"{', '.join(lacks)} is missing" if lacks else None


def _run(command: list[str], stop: threading.Event) -> tuple[int, str]:
    """The exit code and standard error of a command, which is killed once `stop` is set."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        while True:
            try:
                _, said = process.communicate(timeout=POLL_S)
            except subprocess.TimeoutExpired:  # noqa: PERF203  (it is looked at a few times a second)
                if stop.is_set():
                    process.kill()
            else:
                return process.returncode, said
