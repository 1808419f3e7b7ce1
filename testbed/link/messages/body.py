"""What every message of the control plane is made of."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
Positive: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]


class MessageBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A message body; its class name is its tag on the wire."""


class Heartbeat(MessageBody, frozen=True, kw_only=True):
    """The sender lives; `t_ns` is its monotonic clock. Both sides send it."""

    t_ns: int
