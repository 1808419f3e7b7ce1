"""What a node lacks of the packages that the testbed needs, and which wheels fit it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from devices.power.nvml import NvmlPower
from devices.profile import Profile
from testbed.errors import DeployError

DISTRIBUTION = "neucodex-testbed"
MODULES = {
    "numpy": "numpy",
    "pyzmq": "zmq",
    "msgspec": "msgspec",
    "pyyaml": "yaml",
    "onnxruntime": "onnxruntime",
    "nvidia-ml-py": "pynvml",
    "pyroute2": "pyroute2",
}
"""What each of the node's requirements is imported as."""
TORCH = "torch"
"""Never sent: which build fits a node's GPU is the node's to know. It is used as it is there."""
BY_HAND = "~/neucodex-python"
"""The environment that somebody makes where the distribution's Python is not to be installed into."""


@dataclass(frozen=True)
class Python:
    """The node's interpreter, as far as it decides which wheels fit."""

    executable: str
    version: str
    machine: str
    libc: tuple[str, str]
    managed: bool = False
    """Whether the distribution forbids pip to install into it (PEP 668)."""

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


def extras(profile: Profile, *, tc: bool = False) -> tuple[str, ...]:
    """The extras of setup.cfg that a node needs for its power sources, and for a link that its kernel shapes (`tc`).

    Not `jtop`: jetson-stats is a service of the board's own, which its owner installs, and AGPL.
    """
    nvml = ("nvml",) if any(isinstance(source, NvmlPower) for source in profile.power) else ()
    return (*nvml, "tc") if tc else nvml


def without_torch(profile: Profile, found: Mapping[str, str | None]) -> bool:
    """Whether a node lacks the PyTorch that its profile wants."""
    return profile.runtime.provider == "torch" and found.get(TORCH) is None


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
    under another name, and stays, as its torch does; some of their builds are for numpy 1 alone, so with them comes
    numpy 1 where that exists (it has no wheels for Python 3.13).
    """
    modules = probes(needed)
    wanted = [requirement for requirement in needed if not _meets(found.get(modules[requirement.name]), requirement)]
    own_runtime = found.get(TORCH) is not None or all(requirement.name != "onnxruntime" for requirement in wanted)
    if own_runtime and Version(python.version) < Version("3.13"):
        wanted = [_below(each, "2") if each.name == "numpy" else each for each in wanted]
    return wanted


def install_command(python: Python, wanted: Sequence[Requirement]) -> str:
    """What somebody types on the node to get the same by hand, and what else it takes."""
    packages = " ".join(f"'{requirement}'" for requirement in wanted)
    if not python.managed:
        return f"{python.executable} -m pip install {packages}"
    return (
        f"{python.executable} -m venv --system-site-packages {BY_HAND} && {BY_HAND}/bin/pip install {packages}; then "
        f"`python: {BY_HAND}/bin/python` in the profile"
    )


def _below(requirement: Requirement, version: str) -> Requirement:
    below = Requirement(str(requirement))
    below.specifier &= SpecifierSet(f"<{version}")
    return below


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
    libc = (facts["libc"][0], facts["libc"][1])
    return Python(facts["python"], facts["version"], facts["machine"], libc, facts["managed"])
