"""Stands in for jetson-stats: VDD_IN rises with time, as the log of a jtop service that runs.

FAKE_JTOP_T0_NS is the time at which the ramp starts at 3 W, to rise by 0.6 W/s; FAKE_JTOP_SERVICE_S an interval that
another client has set. FAKE_JTOP_CONTROL names a file that is read at each update; it may say:
    no service  fail to connect
    lost        fail as when the service stops
    end         say that there is no more
    stale       give the same reading once more
    no rails    show no power
    no total    show rails without values, and no total
    nothing     show nothing of power at all
    INPUT       name the input rail INPUT, if in capital letters
"""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from pathlib import Path

__version__ = "4.3.2"


class JtopException(Exception):  # noqa: N818  (its name in jetson-stats)
    pass


def order() -> str:
    path = Path(os.environ.get("FAKE_JTOP_CONTROL", "/nonexistent"))
    return path.read_text() if path.exists() else ""


class jtop:  # noqa: N801  (its name in jetson-stats)
    def __init__(self, interval: float = 0.5) -> None:
        self.interval = float(os.environ.get("FAKE_JTOP_SERVICE_S", interval))
        self.uptime = timedelta(0)
        self.power: dict = {}

    def __enter__(self) -> jtop:
        signal.alarm(60)  # long after every test has ended: one that fails leaves nothing behind
        if order() == "no service":
            raise JtopException("The jtop.service is not active. Please run:\nsudo systemctl restart jtop.service")
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ok(self) -> bool:
        time.sleep(self.interval)
        what = order()
        if what == "lost":
            raise JtopException("Lost connection with jtop server")
        if what == "stale":
            return True
        now_ns = time.monotonic_ns()
        self.uptime = timedelta(seconds=now_ns // 10_000_000 / 100)
        mw = int(3000 + 600 * (now_ns - int(os.environ["FAKE_JTOP_T0_NS"])) / 1e9)
        rail = {"online": True, "type": "INA3221", "volt": 5000, "curr": mw // 5, "power": mw, "avg": 77}
        # As the real one does: the input rail is in the total alone.
        self.power = {
            "rail": {"VDD_SOC": rail | {"power": 500}},
            "tot": rail | {"name": what if what.isupper() else "VDD_IN"},
        }
        if what == "no rails":
            self.power = {"rail": {}, "tot": {"power": 0, "avg": 0}}
        if what == "no total":
            self.power = {"rail": {"VDD_SOC": {"online": False}}}
        if what == "nothing":
            self.power = {}
        return what != "end"
