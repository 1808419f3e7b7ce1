"""`python -m testbed.link.shaping`: a shaper, told on standard input what to do; it ends when that does."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import select
import sys
import time
from collections.abc import Iterator

import msgspec

from devices.priority import come_first
from testbed.link.shaping.relay import Relay
from testbed.link.shaping.talk import Arm, Done, Order, Ready, Refused, ShaperRow, Start, Word

ROW_NS = 50_000_000
ANSWER_S = 5.0
_LAST_WORDS_NS = 2_000_000_000
MAX_LINE_BYTES = 16 * 1024 * 1024
_PR_SET_TIMERSLACK = 29  # prctl(2)
_STDIN, _STDOUT = 0, 1


class Orders:
    """Lines on a descriptor, taken as they come."""

    def __init__(self, fd: int) -> None:
        self._fd, self._rest, self.ended = fd, bytearray(), False

    def lines(self) -> Iterator[bytes]:
        """Read once, which waits where nothing is there, and give the lines that are whole now."""
        piece = os.read(self._fd, 1 << 16)
        self._rest += piece
        self.ended = not piece or len(self._rest) > MAX_LINE_BYTES
        while (end := self._rest.find(b"\n")) >= 0:
            line = bytes(self._rest[:end])
            del self._rest[: end + 1]
            yield line


def say(word: Word) -> bool:
    """One line, in one piece; says whether it went. Counters are left out where the reader is far behind."""
    if not isinstance(word, ShaperRow):
        select.select([], [_STDOUT], [], ANSWER_S)
    with contextlib.suppress(BlockingIOError):
        os.write(_STDOUT, msgspec.json.encode(word) + b"\n")
        return True
    return False


def report(relay: Relay) -> bool:
    """Say the counters now, and what was sent again; returns whether all of that is said."""
    row = relay.row()
    return say(row) and not relay.told(row)


def main() -> int:
    """Shape until standard input ends."""
    # Timers fire when they are set for, not up to 50 us later.
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    come_first()
    orders = Orders(_STDIN)
    first: list[bytes] = []
    while not first and not orders.ended:
        first = list(orders.lines())
    if not first:
        return 1
    start = msgspec.json.decode(first[0], type=Start)
    try:
        relay = Relay(start.link, start.address, start.port, (start.cloud_host, start.cloud_port))
    except OSError as error:
        say(Refused(reason=error.strerror or str(error)))
        return 1
    os.set_blocking(_STDOUT, False)
    gc.freeze()
    say(Ready(port=relay.port))
    serve(relay, orders)
    relay.close()
    return 0


def serve(relay: Relay, orders: Orders) -> None:
    """Relay, obey and report."""
    row_ns = time.monotonic_ns()
    while not orders.ended:
        if relay.turn(row_ns, _STDIN):
            for line in orders.lines():
                obey(relay, msgspec.json.decode(line, type=Order))
        now_ns = time.monotonic_ns()
        if now_ns >= row_ns:
            report(relay)
            row_ns += ROW_NS * (1 + (now_ns - row_ns) // ROW_NS)
    end_ns = time.monotonic_ns() + _LAST_WORDS_NS
    with contextlib.suppress(BrokenPipeError):  # whoever began this process is gone
        while not report(relay) and time.monotonic_ns() < end_ns:
            select.select([], [_STDOUT], [], _LAST_WORDS_NS / 1e9)


def obey(relay: Relay, order: Order) -> None:
    """Carry out an order, and say so."""
    if isinstance(order, Arm):
        relay.path.arm()
        now_ns = time.monotonic_ns()
    else:
        now_ns = relay.disturb(order.disturbance)
    say(Done(t_ns=now_ns))


if __name__ == "__main__":
    sys.exit(main())
