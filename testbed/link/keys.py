"""CURVE key pairs: made new for each run, never written to disk, never on a command line."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
import zmq

Z85Key: TypeAlias = Annotated[str, msgspec.Meta(min_length=40, max_length=40)]
"""32 bytes in Z85 (ZeroMQ RFC 32)."""


class KeyPair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One side's CURVE keys in Z85. The secret stays out of its repr, so out of logs and tracebacks."""

    public: Z85Key
    secret: Z85Key

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public!r}, secret=...)"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("public", self.public), ("secret", "...")]


def new_keypair() -> KeyPair:
    """A new key pair from libzmq's random source."""
    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode("ascii"), secret.decode("ascii"))
