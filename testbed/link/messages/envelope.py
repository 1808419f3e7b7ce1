"""The envelope of a message: its bytes, its schema version and its run.

MessagePack. A worker answers a request with the request's sequence number; what it sends unasked (`Hello`,
`Heartbeat`, `Progress`, at times `Fault`) carries 0.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from testbed.errors import LinkError
from testbed.link.messages.answers import FromWorker
from testbed.link.messages.body import Count
from testbed.link.messages.orders import ToWorker

CONTROL_SCHEMA = 9
MAX_CONTROL_BYTES = 4 * 1024 * 1024
MAX_SEALED_BYTES = MAX_CONTROL_BYTES + 33
"""Of a message as CURVE sends it (RFC 26: a command's name, a nonce, flags and an authenticator on top). What is larger
a socket drops with the connection, and nobody is told."""

Body: TypeAlias = ToWorker | FromWorker


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """The envelope."""

    schema: int = CONTROL_SCHEMA
    run: str
    seq: Count
    body: Body


class _Envelope(msgspec.Struct):
    # Read first, so that a peer of another version hears about the version and not about a field.
    schema: int
    run: str


_ENCODER = msgspec.msgpack.Encoder()
_ENVELOPE = msgspec.msgpack.Decoder(_Envelope)
_MESSAGE = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """Bytes of a control message.

    Raises:
        LinkError: it is larger than a peer would take, or holds what MessagePack cannot.
    """
    try:
        data = _ENCODER.encode(message)
    except (msgspec.MsgspecError, TypeError, OverflowError, UnicodeEncodeError, RecursionError) as error:
        raise LinkError(f"{type(message.body).__name__} cannot be sent: {error}") from error
    if len(data) > MAX_CONTROL_BYTES:
        raise LinkError(
            f"{type(message.body).__name__} of {len(data)} bytes is larger than a control message may be "
            f"({MAX_CONTROL_BYTES})"
        )
    return data


def decode(data: bytes | memoryview, run: str) -> Message:
    """The control message in `data`, of this schema and this run.

    Raises:
        LinkError: too large, not a control message, of another schema version or of another run.
    """
    if len(data) > MAX_CONTROL_BYTES:
        raise LinkError(f"a control message of {len(data)} bytes; at most {MAX_CONTROL_BYTES} are taken")
    try:
        envelope = _ENVELOPE.decode(data)
        if envelope.schema != CONTROL_SCHEMA:
            raise LinkError(
                f"the peer speaks version {envelope.schema} of the control messages, this is "
                f"{CONTROL_SCHEMA}; deploy the same testbed on every node"
            )
        if envelope.run != run:
            raise LinkError(f"a control message of run {envelope.run!r} came to run {run!r}")
        return _MESSAGE.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise LinkError(f"not a control message: {error}") from error
