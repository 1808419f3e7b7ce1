"""Runs a command that the kernel ends with the process that started it: `python -m devices.tether PARENT COMMAND…`.

The command takes this process's place and keeps its process id. It gets SIGKILL when the thread of PARENT that started
it ends, however that ends, also by SIGKILL (PR_SET_PDEATHSIG, prctl(2)). The kernel drops that for a set-user-ID
program such as sudo; what such a program starts ends at its next write, into a pipe that nobody reads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Become the command; returns only where that fails."""
    parent, *command = arguments
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        print(f"cannot be tied to its parent: {os.strerror(ctypes.get_errno())}", file=sys.stderr)
        return 1
    if os.getppid() != int(parent):
        # It ended before the tie held.
        return 1
    # Python ignores it, and a program that inherits that never notices that its pipe is closed.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606  (an argument list, never a shell)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
