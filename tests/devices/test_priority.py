from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import os, threading
from pathlib import Path
from devices.priority import come_first
ended = threading.Event()
threading.Thread(target=ended.wait).start()
told = come_first()
threading.Thread(target=ended.wait).start()
print(told, *(os.getpriority(os.PRIO_PROCESS, int(task.name)) for task in Path("/proc/self/task").iterdir()))
ended.set()
"""


def test_all_threads_come_first_where_that_is_allowed_and_it_says_how_they_run() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    told, *threads = map(int, done.stdout.split())
    assert threads == [told] * 3
    assert told == (-20 if os.geteuid() == 0 else os.getpriority(os.PRIO_PROCESS, 0))
