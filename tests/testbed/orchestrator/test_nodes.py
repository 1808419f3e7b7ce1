"""Whether the nodes of an attempt can measure together."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from devices.profile import Profile, Runtime, SshReach
from testbed.errors import DeployError
from testbed.orchestrator.nodes import open_all
from testbed.orchestrator.participants import participants


class Boot:
    """A node that is reached, and is some boot of some machine."""

    def __init__(self, boot: str) -> None:
        self.boot = boot

    async def open(self, on_step: Any) -> None:
        """It is here."""

    async def boot_id(self) -> str:
        return self.boot


def reach(edge: str, cloud: str, **keys: Any) -> None:
    """Open an edge and a cloud on the boots named; `keys` are of the cloud's profile."""
    played = participants(
        [
            ("edge", Profile(name="orin", kind="host", reach=SshReach("orin"), runtime=Runtime(provider="cpu"))),
            ("cloud", Profile(name="gpu", kind="host", reach=SshReach("gpu"), runtime=Runtime(provider="cpu"), **keys)),
        ]
    )
    boots = {"edge": edge, "cloud": cloud}
    attempt = SimpleNamespace(
        participants=played,
        ids=lambda role: [each.id for each in played if each.role == role],
        folder=SimpleNamespace(path=Path()),
    )
    nodes = {each.id: Boot(boots[each.role]) for each in played}
    asyncio.run(open_all(nodes, attempt, lambda *step: None))  # type: ignore[arg-type]


def test_a_cloud_without_an_address_is_refused_where_the_edge_is_another_machine() -> None:
    with pytest.raises(
        DeployError, match=r"^gpu: orin is another machine and cannot reach 127\.0\.0\.1; set `address:`"
    ):
        reach("board", "server")


def test_an_edge_needs_no_address_nor_does_a_cloud_on_the_same_machine() -> None:
    reach("board", "server", address="192.0.2.7")
    reach("one", "one")
