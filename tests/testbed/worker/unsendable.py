"""A worker as `python -m testbed.worker` is one, whose orders only end: in the way that the next word of `HOW` says."""

from __future__ import annotations

import json
import os
import sys

from testbed.errors import WorkerError
from testbed.link import messages
from testbed.link.messages import Body, Message
from testbed.worker.__main__ import main
from testbed.worker.orders import Orders, Say

HOW = json.loads(os.environ["HOW"])
NO_TEXT = os.fsdecode(b"caf\xe9.yaml")


def text(size: int) -> messages.CanShape:
    return messages.CanShape(reasons=["x" * size], address=None)


def as_large_as_may_be(run: str, seq: int) -> Body:
    """An answer that fills its message to the last byte."""
    size = messages.MAX_CONTROL_BYTES - 1000
    size += messages.MAX_CONTROL_BYTES - len(messages.encode(Message(run=run, seq=seq, body=text(size))))
    return text(size)


def carry_out(self: Orders, order: Body, say: Say) -> Body:
    how = HOW.pop(0)
    if how == "large":
        return text(messages.MAX_CONTROL_BYTES)
    if how == "no text":
        return messages.CanShape(reasons=[NO_TEXT], address=None)
    if how == "large error":
        raise WorkerError("it " + "x" * messages.MAX_CONTROL_BYTES)
    if how == "error of no text":
        raise WorkerError(f"{NO_TEXT}: cannot be read")
    if how == "as large as may be":
        return as_large_as_may_be("r1", int(os.environ["ORDERS"]))
    return messages.Done()


if __name__ == "__main__":
    os.environ["ORDERS"] = str(len(HOW))
    Orders.carry_out = carry_out  # type: ignore[method-assign]
    sys.exit(main())
