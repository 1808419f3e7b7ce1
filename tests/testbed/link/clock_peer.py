"""A worker's answers to clock pings, in a process whose monotonic clock is off, on a link that is slow one way.

Reads its set-up as JSON from stdin: `offset_ns` and `drift` of its clock, which equals the machine's plus
`offset_ns` at `zero_ns`, and how long a ping takes `there_s` and its answer `back_s`.
"""

from __future__ import annotations

import json
import sys
import time

import msgspec
import zmq

from testbed.link.messages import ClockPing
from testbed.worker.agent import pong

SETUP = json.loads(sys.stdin.readline())
machine_ns = time.monotonic_ns


def drifting_ns() -> int:
    now_ns = machine_ns()
    return now_ns + SETUP["offset_ns"] + round((now_ns - SETUP["zero_ns"]) * SETUP["drift"])


def main() -> None:
    time.monotonic_ns = drifting_ns
    socket = zmq.Context().socket(zmq.REP)
    print(socket.bind_to_random_port("tcp://127.0.0.1"), flush=True)
    while data := socket.recv():
        time.sleep(SETUP["there_s"])  # the ping on its way, to this clock
        answer = pong(msgspec.msgpack.decode(data, type=ClockPing), time.monotonic_ns())
        time.sleep(SETUP["back_s"])
        socket.send(msgspec.msgpack.encode(answer))


if __name__ == "__main__":
    main()
