"""Reads one line of JSON on standard input, `CheckOrder`, and prints one, `CheckAnswer`, as its last."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from devices.board import identify
from devices.machine import Machine
from testbed.worker.check import machine as looks
from testbed.worker.check.answer import CheckAnswer, CheckOrder
from testbed.worker.check.power import check_power
from testbed.worker.check.software import check_curve, check_python, check_runtime
from testbed.worker.check.speed import check_speed


def main() -> int:
    """Look at everything; 0 when the answer was printed, whatever it says."""
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=CheckOrder)
    machine, profile = Machine(Path(order.profile.root)), order.profile
    # First of all: what is looked at after it is then as it is when nothing runs.
    lines = list(looks.check_journal(machine))
    facts = identify(machine.root)
    lines += check_python()
    lines += check_curve()
    lines += looks.check_board(profile, machine, facts)
    lines += check_runtime(profile)
    lines += check_speed(profile, order.probe)
    lines += check_power(profile, order.power_s)
    lines += looks.check_settings(profile, machine)
    lines += looks.check_throttle(facts)
    lines += looks.check_data_plane(profile)
    lines += looks.check_disk()
    sys.stdout.buffer.write(msgspec.json.encode(CheckAnswer(lines=lines, facts=facts)) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
