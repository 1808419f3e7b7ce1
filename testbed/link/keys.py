"""CURVE key pairs: made new for each run, never written to disk, never on a command line."""

from __future__ import annotations

import sys
from typing import Annotated, TypeAlias

import msgspec
import zmq

from testbed.errors import LinkError

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


def without_curve() -> str | None:
    """What is wrong with a libzmq that cannot do CURVE, such as one built without libsodium, and what to do."""
    if zmq.has("curve"):
        return None
    return (
        f"this pyzmq has no CURVE: its libzmq {zmq.zmq_version()} was built without; install the wheel from PyPI: "
        f"{sys.executable} -m pip install --force-reinstall --only-binary :all: pyzmq"
    )


def require_curve() -> None:
    """Make sure that keys can be used here.

    Raises:
        LinkError: libzmq was built without CURVE.
    """
    if (why := without_curve()) is not None:
        raise LinkError(why)


def new_keypair() -> KeyPair:
    """A new key pair from libzmq's random source.

    Raises:
        LinkError: libzmq makes none.
    """
    require_curve()
    try:
        public, secret = zmq.curve_keypair()
    except zmq.ZMQError as error:
        raise LinkError(f"libzmq makes no CURVE keys: {error}") from error
    return KeyPair(public.decode("ascii"), secret.decode("ascii"))
