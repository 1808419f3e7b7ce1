"""An arm64 machine with a kernel, a disk and an address of its own, under full-system emulation (QEMU).

User-mode emulation would not do: it cuts TCP_INFO short, and shows the workstation's kernel and /sys.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from testbed.deploy.download import cache_folder

HOST = "arm64"
ADDRESS, WORKSTATION = "10.213.9.2", "10.213.9.1"
BRIDGE, TAP = "nxarm64", "nxarm64t"
# Image and network have fixed names, so that the next run clears what a killed one left: one at a time on a machine.
LOCK = Path(tempfile.gettempdir()) / "neucodex-arm64.lock"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
BOOT_S = 120.0
RUNNING = ("qemu-system-aarch64", "qemu-img", "setpriv", "ip", "ssh")
MAKING = ("mmdebstrap", "qemu-aarch64-static", "depmod", "cpio", "mke2fs", "ssh-keygen")
PACKAGES = (
    "qemu-system-arm qemu-utils qemu-user-static mmdebstrap arch-test kmod cpio e2fsprogs iproute2 openssh-client"
)


def image() -> Path:
    """The folder of the image: what TESTBED_ARM64 names, or one in the user's cache."""
    return Path(os.environ.get("TESTBED_ARM64") or cache_folder() / "arm64").resolve()


def is_made() -> bool:
    """Whether the image is there; its disk is put there last."""
    return (image() / "board.img").exists()


def missing() -> str | None:
    """Why there can be no such machine here, in a line; None where there can."""
    if os.geteuid() != 0:
        return "an arm64 machine needs root, which makes its disk and its network"
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as error:
        return f"an arm64 machine needs /dev/net/tun, and it cannot be opened ({error.strerror})"
    programs = RUNNING if is_made() else (*RUNNING, *MAKING)
    if lacking := [name for name in programs if shutil.which(name, path=PATH) is None]:
        return f"no {' and no '.join(lacking)} here: apt-get install {PACKAGES}"
    if not is_made() and not Path("/proc/sys/fs/binfmt_misc").exists():
        return "this kernel has no binfmt_misc, which an arm64 image is made with; TESTBED_ARM64 may name one"
    return None


class NoImage(Exception):  # noqa: N818
    """No image can be made here; says why."""


@dataclass
class Machine:
    """The machine, its disk, and the home folder of somebody who may log in to it as host `arm64`."""

    folder: Path
    cpu: str
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def disk(self) -> Path:
        return self.folder / "disk.qcow2"

    def prepare(self) -> None:
        """A disk as the image has it, which keeps what is written to it; and a way in."""
        _run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", image() / "board.img", self.disk)
        ssh = self.home / ".ssh"
        ssh.mkdir(parents=True)
        (ssh / "config").write_text(
            f"Host {HOST}\n  HostName {ADDRESS}\n  User lab\n  IdentityFile {image() / 'id'}\n"
            f"  UserKnownHostsFile {ssh / 'known_hosts'}\n"
        )
        key = " ".join((image() / "host.pub").read_text().split()[:2])
        (ssh / "known_hosts").write_text(f"{ADDRESS} {key}\n")

    def power_on(self) -> None:
        """Boot it, and wait until sshd answers."""
        command = ["setpriv", "--pdeathsig", "KILL", "qemu-system-aarch64", "-M", "virt", "-cpu", self.cpu]
        command += ["-smp", "2", "-m", "2048", "-nographic", "-append", "console=ttyAMA0 quiet"]
        command += ["-kernel", str(image() / "vmlinuz"), "-initrd", str(image() / "initrd.gz")]
        command += ["-drive", f"if=none,id=disk,format=qcow2,file={self.disk}", "-device", "virtio-blk-pci,drive=disk"]
        command += ["-netdev", f"tap,id=net,ifname={TAP},script=no,downscript=no"]
        command += ["-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci"]
        log = self.folder / "console.log"
        with log.open("ab") as console:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, env={**os.environ, "PATH": PATH}
            )
        deadline = time.monotonic() + BOOT_S
        while not _greets():
            alive = self._process.poll() is None
            assert alive and time.monotonic() < deadline, log.read_text(errors="replace")[-2000:]  # noqa: PT018
            time.sleep(0.1)

    def cut_power(self) -> None:
        """Take its power, as when a plug is pulled.

        What its kernel had not written to the disk yet is lost with its memory. What it had written is kept, by the
        page cache of the machine that emulates it: no more and no less than a disk without a cache of its own keeps.
        """
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def cable(self, state: str) -> None:
        """Pull its cable (`down`), or plug it in again (`up`). Neither end is told."""
        _run("ip", "link", "set", TAP, state)

    def ssh(self, command: str, stdin: str = "") -> str:
        """What a command printed there."""
        words = ["ssh", "-F", self.home / ".ssh" / "config", "-o", "BatchMode=yes", HOST, command]
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextlib.contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """The machine, booted; it, its disk and its network are gone afterwards. An image is made where there is none.

    Raises:
        NoImage: that was not possible.
    """
    with LOCK.open("w") as lock, contextlib.ExitStack() as stack:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_made():
            try:
                _run("bash", Path(__file__).with_name("image.sh"), image(), ADDRESS)
            except AssertionError as error:
                raise NoImage(" ".join(str(error).split())[-300:]) from error
        for device in (TAP, BRIDGE):
            stack.callback(_run, "ip", "link", "delete", device, check=False)
            _run("ip", "link", "delete", device, check=False)
        # On a bridge, so that the workstation's own end stays up when the cable is pulled.
        _run("ip", "link", "add", BRIDGE, "type", "bridge")
        _run("ip", "addr", "add", f"{WORKSTATION}/24", "dev", BRIDGE)
        _run("ip", "link", "set", BRIDGE, "up")
        _run("ip", "tuntap", "add", "dev", TAP, "mode", "tap")
        _run("ip", "link", "set", TAP, "master", BRIDGE, "up")
        # A Cortex-A76 has what the A78AE of an Orin has; `max` adds SVE2, bf16 and i8mm.
        found = Machine(folder, os.environ.get("TESTBED_ARM64_CPU", "cortex-a76"))
        found.prepare()
        stack.callback(found.disk.unlink)
        stack.callback(found.cut_power)
        found.power_on()
        yield found


def _greets() -> bool:
    with contextlib.suppress(OSError), socket.create_connection((ADDRESS, 22), 1) as connection:
        connection.settimeout(5)
        return connection.recv(4).startswith(b"SSH")
    return False


def _run(*command: str | Path, check: bool = True) -> None:
    environment = {**os.environ, "PATH": PATH}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0 or not check, f"{' '.join(map(str, command))}: {done.stderr[-2000:]}"
