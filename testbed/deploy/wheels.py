"""What a node lacks of the packages that the testbed needs, and the wheels of them that fit it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from devices.power.nvml import NvmlPower
from devices.profile import Profile
from testbed.errors import DeployError
from testbed.runtime.digest import document_digest

DISTRIBUTION = "neucodex-testbed"
MODULES = {
    "numpy": "numpy",
    "pyzmq": "zmq",
    "msgspec": "msgspec",
    "pyyaml": "yaml",
    "onnxruntime": "onnxruntime",
    "nvidia-ml-py": "pynvml",
}
"""What each of the node's requirements is imported as."""

POLL_S = 0.2
_CACHING = threading.Lock()
"""Two nodes that are opened at once must not download the same twice."""


@dataclass(frozen=True)
class Python:
    """The node's interpreter, as far as it decides which wheels fit."""

    executable: str
    version: str
    machine: str
    libc: tuple[str, str]

    @property
    def short(self) -> str:
        """Such as 3.10."""
        return ".".join(self.version.split(".")[:2])

    def platforms(self) -> list[str]:
        """The wheel platforms that it takes, newest first (PEP 600, manylinux).

        Raises:
            DeployError: its C library is not glibc.
        """
        name, version = self.libc
        if name != "glibc":
            raise DeployError(f"its C library is {name or 'not glibc'}, which has other wheels")
        minor = int(version.split(".")[1])
        return [f"manylinux_2_{number}_{self.machine}" for number in range(minor, 16, -1)]


def extras(profile: Profile) -> tuple[str, ...]:
    """The extras of setup.cfg that a node needs for its power sources.

    Not `jtop`: jetson-stats is a service of the board's own, which its owner installs, and AGPL.
    """
    return ("nvml",) if any(isinstance(source, NvmlPower) for source in profile.power) else ()


def requirements(extras: Collection[str] = ()) -> list[Requirement]:
    """What a node needs: `install_requires` of setup.cfg, and the extras named."""
    found = []
    for line in metadata.requires(DISTRIBUTION) or []:
        requirement = Requirement(line)
        marker, requirement.marker = requirement.marker, None
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            found.append(requirement)
    return found


def probes(needed: Iterable[Requirement]) -> dict[str, str]:
    """Distribution → module, to ask a node for."""
    return {requirement.name: MODULES[canonicalize_name(requirement.name)] for requirement in needed}


def lacking(needed: Sequence[Requirement], found: Mapping[str, str | None], python: Python) -> list[Requirement]:
    """What a node does not meet of its requirements, given its version of each module (None: it is not there).

    A package that is there is used as it is where its version fits or cannot be told. NVIDIA's onnxruntime is there
    under another name, and stays; some of its builds are for numpy 1 alone, so with it comes numpy 1 where that exists
    (it has no wheels for Python 3.13).
    """
    modules = probes(needed)
    wanted = [requirement for requirement in needed if not _meets(found.get(modules[requirement.name]), requirement)]
    own_runtime = all(requirement.name != "onnxruntime" for requirement in wanted)
    if own_runtime and Version(python.version) < Version("3.13"):
        wanted = [
            Requirement(f"{each.name}{each.specifier},<2") if each.name == "numpy" else each  #
            for each in wanted
        ]
    return wanted


def install_command(python: Python, wanted: Sequence[Requirement]) -> str:
    """What somebody types on the node to get the same by hand."""
    return f"{python.executable} -m pip install " + " ".join(f"'{requirement}'" for requirement in wanted)


def cache_folder() -> Path:
    """Where the workstation keeps wheels."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "neucodex"


def download(wanted: list[Requirement], python: Python, cache: Path, stop: threading.Event) -> list[Path]:
    """Wheels of packages, of all that they need and of pip, for a node's Python; downloaded once.

    Raises:
        DeployError: there are none, they cannot be downloaded, or `stop` was set meanwhile.
    """
    key = document_digest([sorted(map(str, wanted)), python.short, python.machine, list(python.libc)])[:16]
    folder = cache / "wheels" / key
    with _CACHING:
        if not folder.exists():
            part = folder.with_name(f".{key}.{os.getpid()}.part")
            shutil.rmtree(part, ignore_errors=True)
            command = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--disable-pip-version-check",
                "--dest",
                str(part),
            ]
            command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python.short]
            for platform in python.platforms():
                command += ["--platform", platform]
            code, said = _run([*command, *map(str, wanted), "pip"], stop)
            if code:
                errors = [line for line in said.splitlines() if line.startswith("ERROR")]
                raise DeployError((errors or said.strip().splitlines() or ["pip download failed"])[-1])
            part.rename(folder)
    return sorted(folder.glob("*.whl"))


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


def _meets(version: str | None, requirement: Requirement) -> bool:
    if version is None:
        return False
    # A vendor's suffix, as in Debian's 5.4.1+dfsg or NVIDIA's 1.23.0.nv24, does not hide a version that fits.
    plain = re.match(r"\d+(\.\d+)*", version)
    try:
        return plain is None or requirement.specifier.contains(Version(plain[0]), prereleases=True)
    except InvalidVersion:
        return True


def describe(facts: Mapping[str, Any]) -> Python:
    """The interpreter that a steward's answer is about."""
    return Python(facts["python"], facts["version"], facts["machine"], (facts["libc"][0], facts["libc"][1]))


def unpacked_bytes(wheel: Path) -> int:
    """Room that a wheel takes once it is installed; a few times that of its file."""
    with zipfile.ZipFile(wheel) as packed:
        return sum(member.file_size for member in packed.infolist())
