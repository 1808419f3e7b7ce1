"""Gates on the boards: brakes, heat, reboots."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.record.noderecord import BoardFacts, NodeRecord
from testbed.record.reader import Cell

THROTTLE_STATES = ("cur_state", "crit_alarm")
"""Ends of the names of throttle facts that say what is now; the others count what happened."""

MAX_HEATING_C = 5.0
"""How much warmer a zone may be at the end of a repeat than at its start, in °C: both are at rest, so what is left is
the board's heat, and with it leakage and fan, that were still rising while it was measured."""


def throttled(cell: Cell) -> Iterator[str]:
    """A brake was on, or came on during a repeat."""
    for where, _, before, after in _repeats(cell):
        for counter in sorted(before.throttle.keys() & after.throttle.keys()):
            first, last = before.throttle[counter], after.throttle[counter]
            if counter.endswith(THROTTLE_STATES):
                if worst := max(first, last):
                    yield f"{where}: throttled: {counter} was {worst} (limit 0)"
            elif last != first:
                yield f"{where}: throttled: {counter} went from {first} to {last} (limit: no change)"


def still_warming_up(cell: Cell) -> Iterator[str]:
    """A measured board got warmer from the start of a repeat to its end."""
    for where, node, before, after in _repeats(cell):
        if not node.profile.power or node.profile.kind == "emulated":
            continue  # its energy is not measured
        for zone in sorted(before.temperature_c.keys() & after.temperature_c.keys()):
            first, last = before.temperature_c[zone], after.temperature_c[zone]
            if last - first > MAX_HEATING_C:
                yield (
                    f"{where}: still warming up: {zone} from {first:.1f} to {last:.1f} °C "
                    f"(limit {MAX_HEATING_C:g} °C more)"
                )


def not_cooled_down(cell: Cell) -> Iterator[str]:
    """A repeat began on a board that was warmer than before the first one, after all the waiting that was allowed."""
    for node in cell.manifest.nodes.values():
        for repeat, said in node.repeats.items():
            if (cooling := said.cooling) is None or not cooling.gave_up:
                continue
            zones = cooling.temperature_c.keys() & cooling.as_warm_as.keys()
            zone = max(sorted(zones), key=lambda name: cooling.temperature_c[name] - cooling.as_warm_as[name])
            now, first = cooling.temperature_c[zone], cooling.as_warm_as[zone]
            asked = cell.manifest.config.cooldown
            limit = f" (limit {asked.within_c:g} °C more)" if asked else ""
            yield (
                f"{node.role} {node.id}, repeat {repeat}: gave up cooling down after {cooling.waited_s:.0f} s: {zone} "
                f"at {now:.1f} °C, and at {first:.1f} °C before the first repeat{limit}"
            )


def rebooted(cell: Cell) -> Iterator[str]:
    """A board was rebooted between repeats."""
    for node in cell.manifest.nodes.values():
        boots = {repeat.hello.board.boot_id for repeat in node.repeats.values()}
        if len(boots) > 1:
            yield f"{node.role} {node.id} was rebooted between repeats"


def _repeats(cell: Cell) -> Iterator[tuple[str, NodeRecord, BoardFacts, BoardFacts]]:
    """Where, the node, and what it said of its board at the start and at the end of each repeat."""
    for node in cell.manifest.nodes.values():
        for repeat, said in node.repeats.items():
            yield f"{node.role} {node.id}, repeat {repeat}", node, said.hello.board, said.finished.facts
