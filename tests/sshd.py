"""Real sshd for tests: each with keys and configuration of its own, in network namespaces where the tests are root."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
SSHD, IP = shutil.which("sshd", path=_PATH), shutil.which("ip", path=_PATH)
MARK = "NEUCODEX_TEST"
_NUMBERS = itertools.count()


def missing(*, namespaces: bool) -> str | None:
    """What has to be installed before `lan` works here, in words; None where all is there."""
    programs = {"sshd": SSHD, "ssh-keygen": shutil.which("ssh-keygen")} | ({"ip": IP} if namespaces else {})
    lacking = [name for name, path in programs.items() if path is None]
    return f"no {' and no '.join(lacking)} here: apt-get install openssh-server iproute2" if lacking else None


@dataclass
class Node:
    """One sshd. What is started through it carries `mark` in its environment, and so can be found."""

    name: str
    folder: Path
    address: str
    port: int
    mark: str
    namespace: str | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start sshd, and wait until it answers."""
        assert SSHD is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        key = self.folder / "host_key"
        if not key.exists():
            keygen(key)
        config = self.folder / "sshd_config"
        config.write_text(
            f"Port {self.port}\nListenAddress {self.address}\nHostKey {key}\nPidFile none\nUsePAM no\nStrictModes no\n"
            f"AuthorizedKeysFile {self.folder / 'authorized_keys'}\nPermitRootLogin prohibit-password\n"
            f"PasswordAuthentication no\nKbdInteractiveAuthentication no\nSetEnv {MARK}={self.mark}\n"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where sshd locks itself in; the service would have made it
        inside = [str(IP), "netns", "exec", self.namespace] if self.namespace else []
        with (self.folder / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*inside, SSHD, "-D", "-e", "-f", str(config)], stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection((self.address, self.port), 0.5):
                return
            assert time.monotonic() < deadline, (self.folder / "sshd.log").read_text()
            time.sleep(0.02)

    @property
    def public_key(self) -> str:
        """The host key's type and value."""
        return " ".join((self.folder / "host_key.pub").read_text().split()[:2])

    @property
    def known_as(self) -> str:
        """Its name in a known_hosts file."""
        return self.address if self.port == 22 else f"[{self.address}]:{self.port}"

    def stop(self) -> None:
        """End sshd, its sessions and what they started."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        for pid in marked(self.mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def sessions(self) -> list[int]:
        """The sshd processes of connections to this node that are open."""
        assert self.process is not None
        parents, found = {self.process.pid}, []
        children = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
        for pid in sorted(children):
            with contextlib.suppress(OSError):
                words = (Path("/proc") / str(pid) / "stat").read_text().rpartition(") ")[2].split()
                name = (Path("/proc") / str(pid) / "comm").read_text().strip()
                if int(words[1]) in parents and name.startswith("sshd"):
                    parents.add(pid)
                    found.append(pid)
        return found

    def mount(self, folder: Path, options: str) -> Path:
        """Mount a small file system where the node sees it; returns where the tests do."""
        assert self.process is not None
        folder.mkdir()
        self._inside("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))
        return Path(f"/proc/{self.process.pid}/root{folder}")

    def unmount(self, folder: Path) -> None:
        """Take it away again."""
        self._inside("umount", "--lazy", str(folder))

    def _inside(self, *command: str) -> None:
        # `ip netns exec` has given sshd a mount namespace of its own.
        assert self.process is not None
        subprocess.run(["nsenter", "--mount", "--target", str(self.process.pid), *command], check=True)

    def link(self, state: str) -> None:
        """Cut the node's cable (`down`), or put it back (`up`)."""
        assert self.namespace is not None
        _ip("link", "set", f"{self.namespace}b", state)


@dataclass
class Lan:
    """Two nodes and the home folder of somebody who may log in to them: hosts `edge` and `cloud` of its ssh_config."""

    home: Path
    edge: Node
    cloud: Node

    @property
    def nodes(self) -> tuple[Node, Node]:
        return self.edge, self.cloud

    def write_config(self, extra: str = "") -> None:
        """~/.ssh/config and ~/.ssh/known_hosts."""
        ssh = self.home / ".ssh"
        hosts = [
            f"Host {node.name}\n  HostName {node.address}\n  Port {node.port}\n  IdentityFile {ssh / 'id'}\n"
            for node in self.nodes
        ]
        (ssh / "config").write_text(extra + "".join(hosts))
        (ssh / "known_hosts").write_text("".join(f"{node.known_as} {node.public_key}\n" for node in self.nodes))

    def left(self) -> list[str]:
        """The command lines of what was started on the nodes and still runs."""
        return [command for node in self.nodes for command in marked(node.mark).values()]


def keygen(path: Path) -> None:
    """A new key pair without a passphrase."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


def marked(mark: str) -> dict[int, str]:
    """Processes whose environment carries the mark."""
    found = {}
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdecimal() and f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


@contextlib.contextmanager
def lan(folder: Path, *, namespaces: bool) -> Iterator[Lan]:
    """Two nodes: each in a network namespace with an address of its own, on one bridge; or both on loopback."""
    home = folder / "home"
    (home / ".ssh").mkdir(parents=True)
    keygen(home / ".ssh" / "id")
    # Of its own each: a namespace that is deleted keeps its cables, and so their names, for a moment.
    number = next(_NUMBERS)
    prefix, net = f"nx{os.getpid() % 1_000_000}n{number % 1000}", f"10.214.{(os.getpid() + number) % 250 + 1}"
    bridge = f"{prefix}br"
    nodes = []
    with contextlib.ExitStack() as stack:
        if namespaces:
            stack.callback(_ip, "link", "delete", bridge, check=False)
            _ip("link", "add", bridge, "type", "bridge")
            _ip("addr", "add", f"{net}.1/24", "dev", bridge)
            _ip("link", "set", bridge, "up")
        for host, name in enumerate(("edge", "cloud"), start=2):
            node = Node(name, folder / name, "127.0.0.1", 0, f"{os.getpid()}-{name}-{time.monotonic_ns()}")
            if namespaces:
                node.namespace, node.address, node.port = f"{prefix}{name[0]}", f"{net}.{host}", 22
                stack.callback(_ip, "netns", "delete", node.namespace, check=False)
                _join(node.namespace, bridge, node.address)
            else:
                node.port = _free_port()
            stack.callback(node.stop)
            node.folder.mkdir()
            shutil.copy(home / ".ssh" / "id.pub", node.folder / "authorized_keys")
            node.start()
            nodes.append(node)
        found = Lan(home, *nodes)
        found.write_config()
        yield found


def _join(namespace: str, bridge: str, address: str) -> None:
    _ip("netns", "add", namespace)
    _ip("link", "add", f"{namespace}b", "type", "veth", "peer", "name", "eth0", "netns", namespace)
    _ip("link", "set", f"{namespace}b", "master", bridge, "up")
    for words in (
        ("addr", "add", f"{address}/24", "dev", "eth0"),
        ("link", "set", "eth0", "up"),
        ("link", "set", "lo", "up"),
    ):
        _ip("-n", namespace, *words)


def _ip(*words: str, check: bool = True) -> None:
    assert IP is not None
    subprocess.run([IP, *words], check=check, capture_output=not check)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
