"""The nodes of a campaign: reaching all of them, and fetching what workers recorded there."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping

from testbed.deploy.deployer import Deployer
from testbed.errors import DeployError, NodeFailures, TestbedError
from testbed.orchestrator.attempt import Attempt, NodeStep


async def open_all(deployers: Mapping[str, Deployer], attempt: Attempt, on_step: NodeStep) -> None:
    """Open all nodes, or find them open; `deployers` are by participant. `on_step` is told of each what is being done.

    Raises:
        TestbedError: one cannot be used, or an edge of the attempt could never reach its cloud.
    """

    async def reach(name: str, node: Deployer) -> None:
        try:
            await node.open(functools.partial(on_step, name))
        finally:
            on_step(name, "", 0, 0)

    opened = await asyncio.gather(*(reach(*each) for each in deployers.items()), return_exceptions=True)
    failures = {name: error for name, error in zip(deployers, opened, strict=True) if error is not None}
    for error in failures.values():
        if len(failures) == 1 or not isinstance(error, TestbedError):
            raise error
    if failures:
        raise NodeFailures("reaching nodes", failures)
    for cloud in (node for node in attempt.participants if node.role == "cloud"):
        if not cloud.profile.on_loopback:
            continue
        address = cloud.profile.address
        boots = {name: await deployers[name].boot_id() for name in (cloud.id, *attempt.ids("edge"))}
        for name, boot in boots.items():
            if boot != boots[cloud.id]:
                raise DeployError(
                    f"{cloud.id}: {name} is another machine and cannot reach {address}; set `address:` in the "
                    "profile to where the edge reaches this node"
                )


async def fetch_all(deployers: Mapping[str, Deployer], run: str, attempt: Attempt) -> list[TestbedError]:
    """Fetch what the workers of a run recorded; returns what went wrong."""
    fetches = (deployers[node.id].fetch(run, node.id, attempt.folder.path) for node in attempt.participants)
    fetched = await asyncio.gather(*fetches, return_exceptions=True)
    for error in fetched:
        if error is not None and not isinstance(error, TestbedError):
            raise error
    return [error for error in fetched if isinstance(error, TestbedError)]
