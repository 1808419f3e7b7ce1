"""What the edge drew per request, gross: the trapezoid of its power over a repeat's requests, over their number.

The window runs from the first request's begin to the last one's end. Mean over repeats ± 95% interval, combined from
its parts (JCGM 100:2008). Net is gross less the idle baseline, the mean power before and after, over the same window.
Where idle power is most of a cell's mean power, gross says mostly how long a request takes: the tables show net beside
it.
"""

from __future__ import annotations

from analysis.energy import KINDS, Energy, EnergySource, energy
from analysis.metrics.measured import Measured
from analysis.metrics.metric import Column, Heading, Line, Metric
from analysis.texts import number, plus_minus, plus_minus_or_why
from testbed.errors import RecordError
from testbed.record.noderecord import Role


def energy_of(one: Measured, role: Role) -> Energy | None:
    """The energy per request of a role's node; None where the role takes no part or its node is not metered."""
    nodes = one.cell.manifest.role(role)
    try:
        return energy(one.cell, nodes[0]) if nodes else None
    except RecordError as error:
        raise RecordError(f"no {role} energy: {error}") from error


def energy_lines(role: Role, found: Energy) -> list[Line]:
    """What the report says of an energy."""
    what = f"{role} energy ({found.source})"
    repeats = f"{len(found.per_repeat_mj)} repeats, scope {found.scope}"
    lines = [(f"{what}, gross", f"{plus_minus_or_why(found.gross.mean, found.gross.half)} mJ ({repeats})")]
    if found.net and found.idle_mw is not None:
        net = plus_minus_or_why(found.net.mean, found.net.half)
        lines.append((f"{what}, net", f"{net} mJ over an idle baseline of {number(found.idle_mw, 0)} mW"))
    return lines


def _headings(kind: EnergySource) -> tuple[Heading[Energy], Heading[Energy]]:
    return (
        Heading(
            f"mean energy ({kind}) [mJ]",
            lambda found: plus_minus(found.gross.mean, found.gross.half),
            only=lambda found: found.source == kind,
        ),
        Heading(
            f"mean net energy ({kind}) [mJ]",
            lambda found: plus_minus(found.net.mean, found.net.half) if found.net else "",
            only=lambda found: found.source == kind and found.net is not None,
            when=lambda found: found.mostly_idle,
        ),
    )


METRIC = Metric(
    name="energy",
    term="energy",
    doc=__doc__,
    of=lambda one: energy_of(one, "edge"),
    columns=(
        Column("energy_mj", "mJ", lambda found: found.gross.mean),
        Column("energy_mj_ci95", "mJ", lambda found: found.gross.half),
        Column("energy_net_mj", "mJ", lambda found: found.net.mean if found.net else None),
        Column("energy_net_mj_ci95", "mJ", lambda found: found.net.half if found.net else None),
    ),
    headings=tuple(heading for kind in KINDS for heading in _headings(kind)),
    details=lambda found: energy_lines("edge", found),
)
