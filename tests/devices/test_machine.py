"""A machine's commands, and what sudo says of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices import jetson
from devices.base.errors import DeviceError
from devices.machine import Machine, NeedsRootError

GRUMBLE = "sudo: unable to resolve host lab-orin: Name or service not known"


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def tool(name: str, text: str) -> None:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    tool("sudo", f'echo "{GRUMBLE}" >&2\n[ "$1" = -n ] && shift\nexec "$@"')
    return tool


def test_what_sudo_grumbles_about_the_host_name_is_no_refusal(put, tmp_path: Path) -> None:
    put(
        "nvpmodel",
        'case "$1" in -q) printf "NV Power Mode: 15W\\n0\\n";; '
        '*) echo "NVPM WARN: Reboot required for changing to this power mode: 3"; exit 1;; esac',
    )
    with pytest.raises(DeviceError, match="reboot") as seen:
        jetson.set_power_mode(Machine(tmp_path, is_root=False), jetson.PowerMode(3, "7W"))
    assert not isinstance(seen.value, NeedsRootError)


def test_what_sudo_grumbles_is_no_part_of_a_file_that_root_reads(put, tmp_path: Path) -> None:
    file = tmp_path / "stored"
    file.write_text("1\n")
    assert Machine(tmp_path, is_root=False).run("cat", str(file), as_root=True) == (0, "1")


def test_a_refusal_behind_the_grumble_is_one(put, tmp_path: Path) -> None:
    put("sudo", f'echo "{GRUMBLE}" >&2\necho "sudo: a password is required" >&2\nexit 1')
    with pytest.raises(NeedsRootError, match="`cat x` needs root"):
        Machine(tmp_path, is_root=False).run("cat", "x", as_root=True)
