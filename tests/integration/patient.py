"""`testbed`, whose verdicts do not ask how busy the machine was: tests share theirs, and it may stall.

What these gates find is tested on records that are made (tests/testbed/validity).
"""

from __future__ import annotations

from testbed.validity import host, network, path, sensors

host.MAX_OVERRUNS = 1.0
network.MAX_GAP_MS = 10_000
path.MAX_RTT_OFF_MS = 500.0
path.MAX_RATE_OFF = 0.5
sensors.MAX_GAP_PERIODS = 1000.0

if __name__ == "__main__":
    from testbed.cli import main

    main()
