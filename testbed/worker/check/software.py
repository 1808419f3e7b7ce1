"""The interpreter of workers and the runtime that the profile wants."""

from __future__ import annotations

import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import zmq

from devices.base.providers import PROVIDERS
from devices.profile import Profile
from testbed.errors import ModelError
from testbed.link.keys import without_curve
from testbed.runtime.trial import opened
from testbed.version import VERSION
from testbed.worker.check.answer import CheckLine

MIN_PYTHON = (3, 10)

_IDENTITY = bytes.fromhex(
    "08073a370a100a017812017922084964656e746974791201675a0f0a0178120a0a08080112040a020801620f0a0179120a0a08080112040a"
    "02080142040a00100d"
)
"""An ONNX model of one Identity node, float [1] → [1]: a provider that is listed need not load."""


def check_python() -> Iterator[CheckLine]:
    """The interpreter, and the packages that it has."""
    versions = {"numpy": np.__version__, "pyzmq": zmq.__version__, "msgspec": msgspec.__version__}
    seen = f"{platform.python_version()} ({sys.executable}); testbed {VERSION}, " + ", ".join(
        f"{name} {version}" for name, version in versions.items()
    )
    if sys.version_info[:2] < MIN_PYTHON:
        fix = f"install Python {'.'.join(map(str, MIN_PYTHON))} or newer and name it as `python:` in the profile"
        yield CheckLine(state="failed", what="Python", seen=seen, fix=fix)
    else:
        yield CheckLine(state="ok", what="Python", seen=seen)


def check_curve() -> Iterator[CheckLine]:
    """Whether this libzmq can do CURVE, without which no worker is let in."""
    what, why = "CURVE", without_curve()
    if why is None:
        yield CheckLine(state="ok", what=what, seen=f"libzmq {zmq.zmq_version()} has it")
    else:
        seen, _, fix = why.partition("; ")
        yield CheckLine(state="failed", what=what, seen=seen, fix=fix)


def check_runtime(profile: Profile) -> Iterator[CheckLine]:
    """Whether the provider is there, and really loads."""
    if profile.runtime.provider == "torch":
        yield _check_torch(profile)
        return
    wanted = str(profile.runtime.provider)
    name = PROVIDERS[wanted][0]
    there = onnxruntime.get_available_providers()
    listed = ", ".join(short for short, wants in PROVIDERS.items() if wants[0] in there)
    seen = f"onnxruntime {onnxruntime.__version__} with {listed}; the profile wants {wanted}"
    fix = f"install an onnxruntime with {wanted} on the node (docs/hardware.md), or set another `provider:`"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if name not in there:
        yield CheckLine(state="failed", what="runtime", seen=seen, fix=fix)
        return
    try:
        used = onnxruntime.InferenceSession(_IDENTITY, options, providers=[name]).get_providers()
    except Exception as error:  # ONNX Runtime's exceptions share no base of their own
        yield CheckLine(state="failed", what="runtime", seen=f"{seen}, which fails: {error}", fix=fix)
        return
    if name in used:
        yield CheckLine(state="ok", what="runtime", seen=seen)
    else:
        fix = "its CUDA or TensorRT libraries do not load: run `ldconfig -p` on the node and compare the versions"
        yield CheckLine(state="failed", what="runtime", seen=f"{seen}, which is listed but does not load", fix=fix)


def _check_torch(profile: Profile) -> CheckLine:
    with tempfile.TemporaryDirectory(prefix="neucodex-testbed-") as folder:
        path = Path(folder) / "identity.onnx"
        path.write_bytes(_IDENTITY)
        try:
            told = opened(path, profile.runtime).told
        except ModelError as error:
            seen, _, fix = str(error).removeprefix(f"{path}: ").rpartition("; ")
            return CheckLine(state="failed", what="runtime", seen=seen, fix=fix)
    seen = f"{told['library']} on {told['device']}; the profile wants {profile.runtime.told}"
    return CheckLine(state="ok", what="runtime", seen=seen)
