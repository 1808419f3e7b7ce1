"""The Python that runs the steward, as far as it decides what has to be installed beside it, and how."""

from __future__ import annotations

import contextlib
import importlib.util
import platform
import sys
import sysconfig
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any


def interpreter(packages: Mapping[str, str]) -> dict[str, Any]:
    """What it is, and what it has of some packages (distribution → module).

    Returns:
        `managed` is whether the distribution forbids pip to install into it (PEP 668). `packages` is module → version:
        None where there is no such module, "" where it does not say.
    """
    mark = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    return {
        "python": sys.executable,
        "version": platform.python_version(),
        "machine": platform.machine(),
        "libc": list(platform.libc_ver()),
        "managed": sys.prefix == sys.base_prefix and mark.exists(),
        "packages": {module: _version(module, name) for name, module in packages.items()},
    }


def _version(module: str, name: str) -> str | None:
    """The version of an importable module; None if there is none, "" if it doesn't say."""
    if importlib.util.find_spec(module) is None:
        return None
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    # NVIDIA's and others' builds have names of their own: onnxruntime-gpu.
    for distribution in metadata.distributions():
        if str(distribution.metadata["Name"]).lower().startswith(f"{name.lower()}-"):
            return distribution.version
    return ""
