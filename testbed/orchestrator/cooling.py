"""Before a repeat its nodes cool down, each to what it was before the first one."""

from __future__ import annotations

from devices.profile import Profile
from testbed.link import messages
from testbed.orchestrator.attempt import Attempt, Phase
from testbed.orchestrator.crew import Crew, ask_all
from testbed.record.noderecord import Cooling


def cools(profile: Profile) -> bool:
    """Whether a node's heat touches a number: its power is measured, by a sensor and not by a model."""
    return bool(profile.power) and profile.kind != "emulated"


async def cool_down(crew: Crew, attempt: Attempt, on_phase: Phase) -> dict[str, Cooling]:
    """Have every node that is measured wait, all at once; what each says of it. Nothing where none is asked for.

    Raises:
        TestbedError: with the names of the nodes that failed.
    """
    asked = attempt.cooldown
    workers = [worker for worker in crew.workers.values() if cools(worker.node.profile)]
    if asked is None or not workers:
        return {}
    on_phase("cooling down", 0, 1)

    def order(node: str) -> messages.CoolDown:
        as_warm_as = dict(attempt.as_warm_as.get(node, {}))
        return messages.CoolDown(as_warm_as=as_warm_as, within_c=asked.within_c, at_most_s=asked.at_most_s)

    answers = await ask_all("cooling down", lambda each: each.ask(order(each.node.id), "cooling down"), workers)
    return {name: answer.detail for name, answer in answers.items()}
