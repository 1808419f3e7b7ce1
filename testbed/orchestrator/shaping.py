"""Who imposes a link in one attempt: the nodes' kernels, or a process beside the cloud."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from testbed.errors import WorkerError
from testbed.link.messages import AskShaping, CanShape
from testbed.link.shaping.shaper import Shaping
from testbed.orchestrator.attempt import Attempt
from testbed.orchestrator.participants import Participant

Ask = Callable[[str, AskShaping], Awaitable[CanShape]]
"""Asks a participant whether its kernel can shape."""


class Chosen(NamedTuple):
    """Who imposes the link, and why not the kernels where that was left to choose; the edges' IP addresses."""

    shaping: Shaping | None
    because: list[str]
    edges_at: list[str]


async def choose(attempt: Attempt, ask: Ask) -> Chosen:
    """Take the kernels where every node can, or as the experiment says.

    Raises:
        WorkerError: it says `tc`, and a node cannot.
    """
    cloud = next((node for node in attempt.participants if node.role == "cloud"), None)
    if attempt.link is None or cloud is None:
        return Chosen(None, [], [])
    if attempt.shaping == "user":
        return Chosen("user", [], [])
    if cloud.profile.on_loopback:
        because = [
            f"{cloud.id}: its address is {cloud.profile.address}, and both ends cannot shape one loopback interface"
        ]
        edges_at: list[str] = []
    else:
        because, edges_at = await _unable(attempt, cloud, ask)
    if not because:
        return Chosen("tc", because, edges_at)
    if attempt.shaping == "tc":
        raise WorkerError(
            f"link {attempt.link.name} cannot be shaped by the nodes' kernels: {'; '.join(because)}. Use shaping: "
            "user, or see docs/hardware.md (a link shaped by the kernel)"
        )
    return Chosen("user", because, [])


def may_use_kernel(shaping: str, cloud: Participant) -> bool:
    """Whether a link to this cloud may be left to the kernels, so that nodes need what that takes."""
    return shaping != "user" and not cloud.profile.on_loopback


async def _unable(attempt: Attempt, cloud: Participant, ask: Ask) -> tuple[list[str], list[str]]:
    """Why the nodes' kernels cannot shape, each reason with its node; and where the edges are."""
    assert attempt.link is not None  # noqa: S101  (the caller looked)
    will_delay = any(fault.fault == "link_delay" for fault in attempt.faults)
    because: list[str] = []
    found: dict[str, str] = {}
    for edge in attempt.ids("edge"):
        order = AskShaping(link=attempt.link, peers=[cloud.profile.address], role="edge", will_delay=will_delay)
        answer = await ask(edge, order)
        because += [f"{edge}: {reason}" for reason in answer.reasons]
        if answer.address is not None:
            if answer.address in found.values():
                because.append(f"{edge}: it shares {answer.address} with another edge, and one alone can shape there")
            found[edge] = answer.address
    edges_at = list(dict.fromkeys(found.values()))
    if edges_at:
        order = AskShaping(link=attempt.link, peers=edges_at, role="cloud", will_delay=will_delay)
        because += [f"{cloud.id}: {reason}" for reason in (await ask(cloud.id, order)).reasons]
    return because, edges_at
