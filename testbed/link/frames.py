"""The data plane's messages: a 16-byte header and a payload in one ZeroMQ frame."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from testbed.link.kinds import FrameError, Kind

MAGIC = b"NX"
VERSION = 2
# magic, version, kind, request, timestep, codec, reserved, payload length; little-endian, no padding.
_HEADER = struct.Struct("<2sBBIBBHI")
HEADER_BYTES = _HEADER.size
_DURATION = struct.Struct("<Q")
_BALLAST = struct.Struct("<I")
_ENTRY = struct.Struct("<BI")
ENTRY_BYTES = _ENTRY.size
"""What each code of a STEPS frame costs beside its payload."""
MAX_PROBE_BYTES = 64 * 1024
"""Of a probe's payload, and of what it may ask for."""
MAX_REASON_BYTES = 200


_KINDS = {int(kind): kind for kind in Kind}


class Frame(NamedTuple):
    """One message of the data plane. `codec` is a codec's `wire_id`, 0 where the payload is no code.

    Of STEPS it is the number of codes, and `timestep` that of the first.
    """

    kind: Kind
    request: int
    timestep: int = 0
    codec: int = 0
    payload: bytes | memoryview = b""


def pack(frame: Frame) -> bytes:
    """Bytes of a frame.

    Raises:
        FrameError: a field does not fit the header (`bad_field`).
    """
    kind, request, timestep, codec, payload = frame
    try:
        header = _HEADER.pack(MAGIC, VERSION, kind, request, timestep, codec, 0, len(payload))
    except struct.error as error:
        raise FrameError(
            "bad_field", f"request {request}, timestep {timestep}: does not fit a frame: {error}"
        ) from error
    return b"".join((header, payload))


def unpack(data: bytes | memoryview, max_payload: int) -> Frame:
    """The frame in `data`; its payload is a view, not a copy.

    Raises:
        FrameError: `bad_length`, `bad_magic`, `bad_version`, `bad_reserved`, `too_large` or `bad_kind`.
    """
    if len(data) < HEADER_BYTES:
        raise FrameError("bad_length", f"a frame has at least {HEADER_BYTES} bytes, {len(data)} were received")
    magic, version, kind, request, timestep, codec, reserved, length = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise FrameError("bad_magic", f"not a data frame: it begins with {magic!r}, not {MAGIC!r}")
    if version != VERSION:
        raise FrameError(
            "bad_version",
            f"the peer speaks version {version} of the data plane, this is {VERSION}; "
            "deploy the same testbed on both nodes",
        )
    if reserved:
        raise FrameError("bad_reserved", f"the reserved header field must be 0, not {reserved}")
    if length != len(data) - HEADER_BYTES:
        raise FrameError(
            "bad_length",
            f"the header announces {length} bytes of payload, {len(data) - HEADER_BYTES} were received",
        )
    if length > max_payload:
        raise FrameError("too_large", f"a payload of {length} bytes; at most {max_payload} are taken")
    known = _KINDS.get(kind)
    if known is None:
        raise FrameError("bad_kind", f"no frame is of kind {kind}")
    return Frame(known, request, timestep, codec, memoryview(data)[HEADER_BYTES:])


def pack_steps(codes: Sequence[tuple[int, bytes]]) -> bytes:
    """Payload of STEPS: a table with the codec and the payload's length of each code, then these payloads."""
    table = (_ENTRY.pack(codec, len(payload)) for codec, payload in codes)
    return b"".join((*table, *(payload for _, payload in codes)))


def codes_in(frame: Frame) -> list[tuple[int, bytes | memoryview]]:
    """Codec and payload of each code in a STEP or STEPS frame.

    Raises:
        FrameError: STEPS is not as long as its table says, or holds no code (`bad_length`).
    """
    if frame.kind is Kind.STEP:
        return [(frame.codec, frame.payload)]
    view, count = memoryview(frame.payload), frame.codec
    at = count * ENTRY_BYTES
    if not count or len(view) < at:
        raise FrameError("bad_length", f"{len(view)} bytes do not hold the table of {count} codes")
    entries = list(_ENTRY.iter_unpack(view[:at]))
    if at + sum(length for _, length in entries) != len(view):
        raise FrameError("bad_length", f"the table of {count} codes does not add up to {len(view)} bytes")
    found: list[tuple[int, bytes | memoryview]] = []
    for codec, length in entries:
        found.append((codec, view[at : at + length]))
        at += length
    return found


def pack_result(duration_ns: int, logits: NDArray[np.floating[Any]]) -> bytes:
    """Payload of a RESULT: the cloud's duration, then logits [T', K] (or [K]) as little-endian float32."""
    return _DURATION.pack(duration_ns) + np.ascontiguousarray(logits, dtype="<f4").tobytes()


def unpack_duration(payload: bytes | memoryview) -> int:
    """Duration in ns of a RESULT payload.

    Raises:
        FrameError: it is too short to have one (`bad_length`).
    """
    if len(payload) < _DURATION.size:
        raise FrameError("bad_length", f"a result of {len(payload)} bytes does not say how long it took")
    return int(_DURATION.unpack_from(payload)[0])


def unpack_result(payload: bytes | memoryview, classes: int) -> tuple[int, NDArray[np.float32]]:
    """Duration in ns and logits [T', K] of a RESULT payload.

    Raises:
        FrameError: no whole timesteps of `classes` logits (`bad_length`), or not finite (`bad_logits`).
    """
    size = len(payload) - _DURATION.size
    if size <= 0 or size % (4 * classes):
        raise FrameError("bad_length", f"a result of {len(payload)} bytes does not hold timesteps of {classes} logits")
    logits = np.frombuffer(payload, dtype="<f4", offset=_DURATION.size).reshape(-1, classes)
    if not np.isfinite(logits).all():
        raise FrameError("bad_logits", "the result has logits that are not finite")
    return unpack_duration(payload), logits.astype(np.float32, copy=False)


def pack_probe(up_bytes: int, down_bytes: int) -> bytes:
    """Payload of a PROBE of `up_bytes` (4 at least) that asks for an ECHO with a payload of `down_bytes`."""
    return _BALLAST.pack(down_bytes).ljust(up_bytes, b"\0")


def echo_of(payload: bytes | memoryview) -> bytes:
    """Payload of the ECHO that a PROBE's payload asks for.

    Raises:
        FrameError: it does not say how much, or too much (`bad_length`).
    """
    if len(payload) < _BALLAST.size:
        raise FrameError("bad_length", f"a probe of {len(payload)} bytes does not say what it asks for")
    (down_bytes,) = _BALLAST.unpack_from(payload)
    if down_bytes > MAX_PROBE_BYTES:
        raise FrameError("bad_length", f"a probe asks for {down_bytes} bytes; at most {MAX_PROBE_BYTES} are given")
    return bytes(down_bytes)


def pack_reason(reason: str) -> bytes:
    """Payload of a REFUSED: the reason, cut to `MAX_REASON_BYTES`."""
    return reason.encode("utf-8", "replace")[:MAX_REASON_BYTES]


def unpack_reason(payload: bytes | memoryview) -> str:
    """The reason in a REFUSED payload, fit to be printed whatever the peer sent."""
    text = bytes(payload[:MAX_REASON_BYTES]).decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
