"""`testbed clean`: removes what the testbed keeps on nodes, and on this machine for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from devices.profile import Profile, load_profile
from testbed.deploy.deployer import Claim, Cleaned, Step, unwatched
from testbed.deploy.reach import deployer
from testbed.errors import TestbedError


@dataclass(frozen=True)
class NodeCleaned:
    """One node and what became of it: what was removed there, or why nothing could be."""

    node: str
    local: bool = False
    done: Cleaned | None = None
    refused: str = ""


def clean(
    paths: Sequence[Path],
    *,
    runs: bool = False,
    on_node: Callable[[str], None] = lambda node: None,
    step: Step = unwatched,
) -> Iterator[NodeCleaned]:
    """Clean one node after the other.

    Args:
        paths: profiles, devices/*.yaml.
        runs: whether what lost runs recorded there, and nobody fetched, is removed too.
        on_node: told which node is next.
        step: told what is being done on that node.
    """
    for path in paths:
        on_node(str(path))
        name, local = str(path), False
        try:
            profile = load_profile(path)
            name, local = profile.name, profile.reach == "local"
            done = asyncio.run(_clean_node(profile, runs, step))
        except TestbedError as error:
            yield NodeCleaned(name, local, refused=str(error))
        else:
            yield NodeCleaned(name, local, done)


async def _clean_node(profile: Profile, runs: bool, step: Step) -> Cleaned:
    node = deployer(profile, Claim.of("testbed clean"))
    try:
        return await node.clean(runs=runs, step=step)
    finally:
        await node.close()
