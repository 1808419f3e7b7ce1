"""Two network namespaces joined by a wire (veth): two nodes whose queues may be changed, on this machine's kernel.

A namespace belongs to threads: what a thread opens `inside` one stays there. They have no names and leave nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

_NEWNET = 0x40000000  # CLONE_NEWNET
_LIBC = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A network namespace, for as long as it is not closed."""

    def __init__(self) -> None:
        opened: list[int | OSError] = []

        def unshare() -> None:
            if _LIBC.unshare(_NEWNET):
                opened.append(OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno())))
            else:
                opened.append(os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY))

        thread = threading.Thread(target=unshare)
        thread.start()
        thread.join()
        (found,) = opened
        if isinstance(found, OSError):
            raise found
        self.fd = found

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """This thread, and the threads and processes that it starts, are in the namespace."""
        home = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
        try:
            _enter(self.fd)
            yield
        finally:
            _enter(home)
            os.close(home)

    def run(self, command: str) -> str:
        """What a command says there."""
        with self.inside():
            done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def close(self) -> None:
        os.close(self.fd)


class Wire:
    """An edge (10.9.0.1, fd09::1) and a cloud (10.9.0.2, fd09::2); each has an interface `wire`.

    Raises:
        OSError: this process may not make namespaces, or the kernel has no veth.
    """

    def __init__(self) -> None:
        self.edge, self.cloud = Namespace(), Namespace()
        far = f"/proc/{os.getpid()}/fd/{self.cloud.fd}"
        try:
            self.edge.run(f"ip link add wire type veth peer name wire netns {far}")
        except AssertionError as error:
            self.close()
            raise OSError(str(error)) from error
        for number, node in enumerate((self.edge, self.cloud), 1):
            node.run(f"ip addr add 10.9.0.{number}/24 dev wire")
            node.run(f"ip addr add fd09::{number}/64 dev wire nodad")
            node.run("ip link set wire up")
            node.run("ip link set lo up")

    def close(self) -> None:
        self.edge.close()
        self.cloud.close()


def why_not() -> str | None:
    """Why there can be no wire here; None: there can."""
    if not Path("/proc/net/psched").exists():
        return "this kernel has no traffic control"
    try:
        Wire().close()
    except OSError as error:
        return f"network namespaces cannot be made here: {error}"
    return None


def _enter(fd: int) -> None:
    if _LIBC.setns(fd, _NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
