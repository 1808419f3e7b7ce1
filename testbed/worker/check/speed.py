"""How long a timestep takes on each runtime that the node has, and which is fastest."""

from __future__ import annotations

import ctypes
import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnxruntime

from devices.base.providers import PROVIDERS
from devices.profile import Profile, Runtime
from testbed.errors import ModelError
from testbed.runtime.graph import Graph
from testbed.runtime.trial import WORTH, load, step_ms
from testbed.worker.check.answer import CheckLine

STEP = "a timestep of a spiking ResNet-18 of width 64, 32 x 32"
"""What `testbed.probe` makes."""


def check_speed(profile: Profile, probe: bytes) -> Iterator[CheckLine]:
    """Time a step graph on each runtime; what is not there is not listed.

    PyTorch is timed on a CPU only where the profile asks for it: its import takes seconds, and ONNX Runtime is faster.
    """
    if profile.emulates is not None:
        seen = "not measured: times of an emulated node come from its model, not from this host"
        yield CheckLine(state="ok", what="step", seen=seen)
        return
    took_ms: dict[Runtime, float] = {}
    with tempfile.TemporaryDirectory(prefix="neucodex-testbed-") as folder:
        path = Path(folder) / "step.onnx"
        path.write_bytes(probe)
        gpu = _sees_gpu()
        for runtime in _there(profile.runtime, gpu=gpu):
            try:
                graph, _ = load(path, runtime, tried=True)
                took_ms[runtime] = step_ms(graph)
                seen = f"{took_ms[runtime]:.3g} ms on {_where(graph)}"
            except ModelError as error:
                if runtime == profile.runtime:
                    continue  # the line about the runtime says it
                seen = f"does not run here: {str(error).removeprefix(f'{path}: ')}"
            yield CheckLine(state="ok", what=f"step: {runtime.told}", seen=seen)
    if took_ms:
        yield _fastest(profile.runtime, took_ms)
    if gpu and all(runtime.provider == "cpu" or runtime.device == "cpu" for runtime in took_ms):
        fix = "install PyTorch for this GPU, or an onnxruntime that uses it (docs/hardware.md)"
        yield CheckLine(state="warning", what="GPU", seen="there is one, but nothing here computes on it", fix=fix)


def _there(wanted: Runtime, *, gpu: bool) -> Iterator[Runtime]:
    """The runtimes that a node may have, the profile's first."""
    yield wanted
    listed = onnxruntime.get_available_providers()
    others = [
        Runtime(provider=provider, threads=wanted.threads)  # type: ignore[arg-type]
        for provider, names in PROVIDERS.items()
        if all(name in listed for name in names)
    ]
    if importlib.util.find_spec("torch") is not None and gpu:
        others.append(Runtime(provider="torch", device="cuda", threads=wanted.threads))
    yield from (other for other in others if other != wanted)


def _sees_gpu() -> bool:
    """Whether CUDA's driver finds a GPU; PyTorch would take seconds to say so."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def _where(graph: Graph) -> str:
    if graph.device != "cpu":
        return graph.told["device"]
    return f"{graph.threads} thread{'' if graph.threads == 1 else 's'} of the CPU"


def _fastest(wanted: Runtime, took_ms: dict[Runtime, float]) -> CheckLine:
    best = min(took_ms, key=lambda runtime: took_ms[runtime])
    seen = f"{best.told}: {took_ms[best]:.3g} ms for {STEP}"
    if best == wanted or took_ms.get(wanted, float("inf")) * WORTH <= took_ms[best]:
        return CheckLine(state="ok", what="fastest", seen=seen)
    keys = f"provider: {best.provider}" + ("" if best.device is None else f", device: {best.device}")
    times = f"; the profile's {wanted.told} takes {took_ms[wanted]:.3g} ms" if wanted in took_ms else ""
    return CheckLine(state="ok", what="fastest", seen=f"{seen}{times}", fix=f"`runtime: {{{keys}}}` in the profile")
