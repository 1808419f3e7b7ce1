"""Settings that a profile wants on its node for a run: made through the undo journal, read back, and undone.

Nothing here sets a fan: Jetson's fan service would change it again, and a fan that is stopped by mistake costs a board.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from devices import jetson
from devices.base.errors import DeviceError
from devices.board import boot_id
from devices.clocks import per_cpu
from devices.journal import Journal, Restoration, Undo, left_changed, restore_left_behind
from devices.machine import Machine, NeedsRootError, last_line, needs_root
from devices.profile import Settings

_FIXED = re.compile(
    r"(scaling_)?(min|max)_freq|scaling_governor|disable|online|\w*rate_locked|clk_state|railgate_enable"
)
"""Files named by `jetson_clocks --store` that stay as they are written; rates and fans move by themselves."""


def state_folder(root: Path) -> Path:
    """Where a node keeps its undo journals: across reboots, and for a made-up tree inside that tree."""
    if root != Path("/"):
        return root / "var/lib/neucodex-testbed"
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local/state") / "neucodex-testbed"


def undos(machine: Machine) -> dict[str, Undo]:
    """What undoes each kind of change that is made here."""
    return {
        # nvpmodel keeps its mode in /var/lib/nvpmodel and sets it again at boot.
        "nvpmodel": Undo(lambda before: _undo_power_mode(machine, before), survives_reboot=True),
        "jetson_clocks": Undo(lambda before: _undo_jetson_clocks(machine, before), survives_reboot=False),
        "cpu_governor": Undo(lambda before: _write_governors(machine, before["governors"]), survives_reboot=False),
        "gpu_clocks": Undo(lambda before: _undo_gpu_clocks(machine, before), survives_reboot=False),
    }


def put_back_left_behind(machine: Machine) -> list[Restoration]:
    """Undo what earlier runs left changed on this machine; see `restore_left_behind`."""
    return restore_left_behind(state_folder(machine.root), undos(machine), boot_id(machine))


def put_back(machine: Machine) -> list[str]:
    """Like `put_back_left_behind`, for who wants nothing to be left: what was put back, in words.

    Raises:
        DeviceError: something stays changed.
    """
    found = put_back_left_behind(machine)
    if failed := [left_changed(one) for one in found if one.failed]:
        raise DeviceError("; ".join(failed))
    return [f"put back what {one.owner} left changed: {', '.join(one.restored)}" for one in found if one.restored]


class AppliedSettings:
    """The settings of one run, made on this machine; `restore` undoes them, from any thread.

    Raises:
        DeviceError: one could not be made. Those before it are undone.
    """

    def __init__(self, machine: Machine, settings: Settings, owner: str) -> None:
        self._journal = Journal(state_folder(machine.root), owner, boot_id(machine), undos(machine))
        self._lock = threading.Lock()
        self.changes: list[str] = []
        try:
            self._apply(machine, settings)
        except DeviceError as error:
            try:
                self.restore()
            except DeviceError as left:
                raise DeviceError(f"{error}; {left}") from error
            raise

    def restore(self) -> list[str]:
        """Undo every change, in words; more than once does no harm.

        Raises:
            DeviceError: what stays changed, and why.
        """
        with self._lock:
            return self._journal.restore()

    def _apply(self, machine: Machine, settings: Settings) -> None:
        # The power mode first: it limits the clocks and takes CPUs offline. Undone in the other order.
        if settings.nvpmodel is not None:
            self._set_power_mode(machine, settings.nvpmodel)
        if settings.cpu_governor is not None:
            self._set_governor(machine, settings.cpu_governor)
        if settings.jetson_clocks:
            self._set_jetson_clocks(machine)
        if settings.gpu_clocks_mhz is not None:
            self._set_gpu_clocks(machine, settings.gpu, settings.gpu_clocks_mhz)

    def _record(self, kind: str, target: str, what: str, before: Mapping[str, Any]) -> None:
        self._journal.record(kind, target, what, dict(before))
        self.changes.append(what)

    def _set_power_mode(self, machine: Machine, wanted: int | str) -> None:
        mode, now = jetson.find_mode(machine, wanted), jetson.power_mode(machine)
        if now.id != mode.id:
            self._record("nvpmodel", "", f"power mode {now} → {mode}", now._asdict())
            jetson.set_power_mode(machine, mode)

    def _set_governor(self, machine: Machine, wanted: str) -> None:
        now = per_cpu(machine, "scaling_governor")
        if not now:
            raise DeviceError(f"cpu_governor {wanted}: this machine has no cpufreq governor to set")
        for cpu, allowed in per_cpu(machine, "scaling_available_governors").items():
            if wanted not in allowed.split():
                raise DeviceError(f"cpu_governor {wanted}: {cpu} has {', '.join(allowed.split())}")
        if set(now.values()) != {wanted}:
            what = f"CPU governor {', '.join(sorted(set(now.values())))} → {wanted}"
            self._record("cpu_governor", "", what, {"governors": now})
            _write_governors(machine, dict.fromkeys(now, wanted))

    def _set_jetson_clocks(self, machine: Machine) -> None:
        stored = _store_jetson_clocks(machine)
        self._record("jetson_clocks", "", "clocks free → fixed by jetson_clocks", {"stored": stored})
        done = machine.run("jetson_clocks", as_root=True)
        if done.code != 0 or "Error" in done.output:
            raise DeviceError(f"jetson_clocks failed: {last_line(done.output)}")

    def _set_gpu_clocks(self, machine: Machine, gpu: int, mhz: int) -> None:
        # The driver does not tell whether somebody locked the clocks before; restoring unlocks them.
        self._record("gpu_clocks", str(gpu), f"clock of GPU {gpu} free → locked at {mhz} MHz", {"gpu": gpu})
        done = machine.run("nvidia-smi", "-i", str(gpu), "-lgc", f"{mhz},{mhz}", as_root=True)
        if done.code != 0:
            raise _gpu_error(machine, f"nvidia-smi -lgc {mhz}", done.output)
        # A clock that the GPU does not have is not refused but cut.
        locked = re.search(r"gpuClkMin (\d+), gpuClkMax (\d+)", done.output)
        if not locked or locked.groups() != (str(mhz), str(mhz)):
            raise DeviceError(
                f"GPU {gpu} was not locked at {mhz} MHz; nvidia-smi said: {' '.join(done.output.split())} "
                "`nvidia-smi -q -d SUPPORTED_CLOCKS` lists what it has"
            )


def unmet(machine: Machine, settings: Settings) -> dict[str, str | None]:
    """Of each setting that is wanted: why it could not be made (None: it could), without making it."""
    reasons: dict[str, str | None] = {}
    if settings.nvpmodel is not None:
        reasons[f"nvpmodel {settings.nvpmodel}"] = _reason(lambda: _check_power_mode(machine, settings.nvpmodel))
    if settings.cpu_governor is not None:
        reasons[f"cpu_governor {settings.cpu_governor}"] = _reason(
            lambda: _check_governor(machine, settings.cpu_governor or "")
        )
    if settings.jetson_clocks:
        reasons["jetson_clocks"] = _reason(lambda: _check_command(machine, "jetson_clocks"))
    if settings.gpu_clocks_mhz is not None:
        reasons[f"gpu_clocks_mhz {settings.gpu_clocks_mhz}"] = _reason(lambda: _check_command(machine, "nvidia-smi"))
    return reasons


def _reason(check: Callable[[], None]) -> str | None:
    try:
        check()
    except DeviceError as error:
        return str(error)
    return None


def _check_power_mode(machine: Machine, wanted: int | str | None) -> None:
    mode, now = jetson.find_mode(machine, wanted if wanted is not None else -1), jetson.power_mode(machine)
    if mode.id != now.id:
        _check_command(machine, "nvpmodel")
        if jetson.gates_differ(machine, now, mode):
            raise DeviceError(
                f"from {now} to {mode} other clusters of the GPU are powered, which usually needs a reboot, and the "
                f"testbed never reboots a board; try `sudo nvpmodel -m {mode.id}` on it"
            )


def _check_governor(machine: Machine, wanted: str) -> None:
    available = per_cpu(machine, "scaling_available_governors")
    now = per_cpu(machine, "scaling_governor")
    if not now:
        raise DeviceError("this machine has no cpufreq governor to set")
    if lacking := [cpu for cpu, allowed in available.items() if wanted not in allowed.split()]:
        raise DeviceError(f"{lacking[0]} has {', '.join(available[lacking[0]].split())}")
    files = [machine.path(f"sys/devices/system/cpu/{cpu}/cpufreq/scaling_governor") for cpu in now]
    if not all(os.access(file, os.W_OK) for file in files):
        _check_command(machine, "tee")


def _check_command(machine: Machine, name: str) -> None:
    if machine.command(name) is None:
        raise DeviceError(f"{name}: no such command on this machine")
    if not machine.may_run_as_root(name):
        raise NeedsRootError(needs_root("it", name))


def _write_governors(machine: Machine, governors: Mapping[str, str]) -> None:
    for cpu, governor in governors.items():
        name = f"sys/devices/system/cpu/{cpu}/cpufreq/scaling_governor"
        # CPUs share a policy, so one write may have set them all.
        if machine.text(name) != governor:
            machine.write(name, governor)
        if (now := machine.text(name)) != governor:
            raise DeviceError(f"the governor of {cpu} is {now}, not {governor}")


def _undo_power_mode(machine: Machine, before: Mapping[str, Any]) -> None:
    mode = jetson.PowerMode(int(before["id"]), str(before["name"]))
    if jetson.power_mode(machine).id != mode.id:
        jetson.set_power_mode(machine, mode)


def _undo_gpu_clocks(machine: Machine, before: Mapping[str, Any]) -> None:
    done = machine.run("nvidia-smi", "-i", str(before["gpu"]), "-rgc", as_root=True)
    if done.code != 0:
        raise _gpu_error(machine, f"nvidia-smi -i {before['gpu']} -rgc", done.output)


def _gpu_error(machine: Machine, command: str, output: str) -> DeviceError:
    if not machine.is_root and "permission" in output.lower():
        return NeedsRootError(needs_root(f"`{command}`", "nvidia-smi"))
    return DeviceError(f"{command} failed: {last_line(output)}")


def _store_jetson_clocks(machine: Machine) -> str:
    """What `jetson_clocks --store` writes: a line `FILE:VALUE` for everything that it may change."""
    with tempfile.TemporaryDirectory(prefix="neucodex-testbed-") as folder:
        path = Path(folder) / "stored"
        done = machine.run("jetson_clocks", "--store", str(path), as_root=True)
        stored = _text_of_root(machine, path)
    if done.code != 0 or not stored:
        raise DeviceError(f"jetson_clocks --store failed, so nothing was changed: {last_line(done.output)}")
    return stored


def _text_of_root(machine: Machine, path: Path) -> str | None:
    # A file that root wrote, perhaps for itself alone.
    try:
        return path.read_text()
    except PermissionError:
        return machine.run("cat", str(path), as_root=True).output
    except OSError:
        return None


def _undo_jetson_clocks(machine: Machine, before: Mapping[str, Any]) -> None:
    stored = str(before["stored"])
    with tempfile.TemporaryDirectory(prefix="neucodex-testbed-") as folder:
        path = Path(folder) / "stored"
        path.write_text(stored)
        done = machine.run("jetson_clocks", "--restore", str(path), as_root=True)
    # Its exit code is 0 whatever happened, so each file is read back.
    differ = []
    for line in stored.splitlines():
        name, _, wanted = line.partition(":")
        now = machine.text(name)
        if _FIXED.fullmatch(name.rpartition("/")[2]) and now is not None and now != wanted.strip():
            differ.append(f"{name} is {now}, was {wanted.strip()}")
    if differ:
        raise DeviceError(f"jetson_clocks --restore left {', '.join(differ)}; it said: {last_line(done.output)}")
    if done.code != 0:
        raise DeviceError(f"jetson_clocks --restore failed: {last_line(done.output)}")
