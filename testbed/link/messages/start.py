"""How a worker learns where its orchestrator is; what is said after that is encrypted."""

from __future__ import annotations

from typing import Annotated

import msgspec

from testbed.link.keys import KeyPair, Z85Key


class WorkerStart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The line of JSON that a worker reads from its standard input: keys never stand on a command line.

    `node` is the id of the participant that it is: its end of the control plane has that identity, and the `node`
    columns of its record say it. `root` is the profile's: where the worker looks for what its board says of itself
    before a profile is loaded.
    """

    control_endpoint: str
    control_public: Z85Key
    keys: KeyPair
    node: str
    silence_s: Annotated[float, msgspec.Meta(gt=0)]
    """After how long without a word from the orchestrator the worker ends itself."""
    root: str = "/"
