"""Who takes part in a cell: nodes, each with an id of its own beside the role that it plays."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from devices.profile import Profile
from testbed.modes import facts_of
from testbed.record.noderecord import Role

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Participant:
    """One node in one role.

    `id` is what its rows, its folders and its end of the control plane are named after. No two participants share it,
    whereas several may share a role, and a profile.
    """

    id: str
    role: Role
    profile: Profile


def participants(playing: Iterable[tuple[Role, Profile]]) -> list[Participant]:
    """Give each node its id: its profile's name, with a number behind it where the name is taken already."""
    found: dict[str, Participant] = {}
    for role, profile in playing:
        # An id is a folder and a word of a command line too, whatever a profile calls its node.
        name = _UNSAFE.sub("-", profile.name).lstrip(".-") or role
        taken = 1
        while (free := name if taken == 1 else f"{name}-{taken}") in found:
            taken += 1
        found[free] = Participant(free, role, profile)
    return list(found.values())


def taking_part(nodes: Iterable[Participant], mode: str) -> list[Participant]:
    """Those whose role takes part in a mode."""
    roles = facts_of(mode).roles
    return [node for node in nodes if node.role in roles]
