"""What the two ends of the data plane have in common: one bounded socket in a ZeroMQ context of its own.

No ZMTP heartbeats: on a slow link a heartbeat waits behind a payload and its timeout cuts the
connection. Queues and message sizes are finite. Each side owns its ZeroMQ context, so that closing
it leaves no socket and no thread behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import zmq

OnEvent: TypeAlias = Callable[[str, dict[str, Any]], None]
"""Told the name of an event and what belongs to it."""

HIGH_WATER_MARK = 64
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
# libzmq's limit counts what CURVE adds to a message (ZeroMQ RFC 26: command name 8, nonce 8, flags 1,
# MAC 16), and holds for the commands of the handshake too, which take some 300 bytes.
CURVE_BYTES = 33
_ZMTP_BYTES = 9
_HANDSHAKE_BYTES = 1024


def framing_bytes(curve: bool) -> int:
    """What a message of 256 bytes and more grows by on its way into TCP (ZMTP 3.1: flags, and a size of 8 bytes)."""
    return _ZMTP_BYTES + (CURVE_BYTES if curve else 0)


def data_socket(context: zmq.Context[zmq.Socket[bytes]], kind: int, max_message_bytes: int) -> zmq.Socket[bytes]:
    """A socket of the data plane, with nothing connected or bound yet."""
    socket: zmq.Socket[bytes] = context.socket(kind)
    socket.linger = 0
    socket.sndhwm = socket.rcvhwm = HIGH_WATER_MARK
    socket.maxmsgsize = max(max_message_bytes, _HANDSHAKE_BYTES) + CURVE_BYTES
    return socket
