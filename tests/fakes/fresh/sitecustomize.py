"""On the path of a process, this makes a made-up sensor as new as each reading of it: a thread would be late.

FAKE_SYSFS says which function fills the tree, and its root (`tests.fakes.sysfs.fresh` sets both).
"""

import os
import time
from importlib import import_module
from pathlib import Path

if "FAKE_SYSFS" in os.environ:
    from tests.fakes.sysfs import FakeTree

    module, function, root = os.environ["FAKE_SYSFS"].split(":", 2)
    tree = FakeTree(Path(root))
    getattr(import_module(module), function)(tree)
    pread = os.pread

    def read_fresh(fd: int, size: int, offset: int) -> bytes:
        tree.write(time.monotonic_ns())
        return pread(fd, size, offset)

    os.pread = read_fresh
