"""How warm each node was before its first repeat of a campaign, which the others wait for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from testbed.campaign.plan import Plan
from testbed.orchestrator.cooling import cools
from testbed.record.documents import AttemptRecord


class Heat:
    """The temperatures that repeats wait for, by node; of a campaign that goes on, those of its first repeat."""

    def __init__(self, plan: Plan, say: Callable[[str], None]) -> None:
        self._plan, self._say = plan, say
        self._said: set[str] = set()
        self._first: dict[str, Mapping[str, float]] = {}

    @property
    def first(self) -> Mapping[str, Mapping[str, float]]:
        """°C by zone, for each node that has been measured."""
        return self._first

    def begin(self) -> None:
        """Take in what is on the disk, and say which nodes are not waited for."""
        for repeat in [repeat for cell in self._plan.cells for repeat in self._plan.repeats(cell)]:
            if repeat.record is not None:
                self.learn(repeat.record)
        if self._plan.experiment.cooldown is None:
            return
        for node in self._plan.nodes:
            if node.profile.power and not cools(node.profile):
                self._once(node.id, "it is emulated and has no heat")

    def learn(self, record: AttemptRecord) -> None:
        """Take in what a complete attempt says of its nodes; the first one of a node decides."""
        for name, told in record.nodes.items():
            if told.cooling is None:
                continue
            if first := told.cooling.as_warm_as or told.cooling.temperature_c:
                self._first.setdefault(name, first)
            else:
                self._once(name, "it tells no temperature")

    def _once(self, node: str, why: str) -> None:
        if node not in self._said:
            self._said.add(node)
            self._say(f"{node}: {why}, so no repeat waits for it to cool down.")
