"""`python -m testbed.worker --node ID --run RUN`: one worker, told the rest on standard input."""

from __future__ import annotations

import argparse
import ctypes
import signal
import sys

import zmq

from testbed.errors import TestbedError
from testbed.worker.agent import Agent, read_start
from testbed.worker.station import put_back_left_behind, undo_changes


def main() -> int:
    """Run a worker until its orchestrator says goodbye or is gone."""
    parser = argparse.ArgumentParser(prog="testbed.worker")
    parser.add_argument("--node", required=True)
    parser.add_argument("--run", required=True)
    arguments = parser.parse_args()
    # A closed standard input ends a worker that runs; a stopped one can only be killed, which the kernel does
    # when the parent goes (prctl PR_SET_PDEATHSIG).
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    try:
        start = read_start(sys.stdin.buffer)
        put_back_left_behind(start)
        return Agent(arguments.run, start).serve()
    except TestbedError as error:
        print(f"testbed.worker {arguments.node}: {error}", file=sys.stderr)
        return 1
    except zmq.ZMQError as error:
        print(f"testbed.worker {arguments.node}: the control plane failed: {error}", file=sys.stderr)
        return 1
    finally:
        undo_changes()


if __name__ == "__main__":
    sys.exit(main())
