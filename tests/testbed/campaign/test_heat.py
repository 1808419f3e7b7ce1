"""What the repeats of a campaign wait for, and what is said of nodes that nobody waits for."""

from __future__ import annotations

from types import SimpleNamespace

from msgspec.structs import replace

from testbed.campaign.heat import Heat
from testbed.experiment.spec import Cooldown
from testbed.orchestrator.participants import participants
from testbed.record.noderecord import Cooling
from tests.made import records


def told(**cooling: Cooling) -> SimpleNamespace:
    return SimpleNamespace(nodes={name: replace(records.node_repeat(), cooling=each) for name, each in cooling.items()})


def at(celsius: float | None, first: float | None = None) -> Cooling:
    return Cooling(
        waited_s=0.0,
        temperature_c={} if celsius is None else {"cpu": celsius},
        as_warm_as={} if first is None else {"cpu": first},
    )


def heat_of(*repeats: SimpleNamespace, kind: str = "jetson", cools: bool = True) -> tuple[Heat, list]:
    power = [records.EMULATED_POWER if kind == "emulated" else records.INA_POWER]
    nodes = participants(
        [("edge", records.profile("board", kind, power)), ("cloud", records.profile("server", "host"))]
    )
    said: list[str] = []
    plan = SimpleNamespace(
        nodes=nodes,
        cells=["cell"],
        experiment=SimpleNamespace(cooldown=Cooldown() if cools else None),
        repeats=lambda _: [SimpleNamespace(record=record) for record in repeats],
    )
    heat = Heat(plan, said.append)
    heat.begin()
    return heat, said


def test_the_first_repeat_on_a_node_decides_how_warm_it_may_be() -> None:
    heat, said = heat_of()
    assert heat.first == {}
    heat.learn(told(board=at(41.0)))
    heat.learn(told(board=at(43.0, first=41.0)))
    assert heat.first == {"board": {"cpu": 41.0}}
    assert said == []


def test_a_campaign_that_goes_on_waits_for_what_its_first_repeat_had() -> None:
    # The disk gives them in another order than they were measured in.
    heat, _ = heat_of(told(board=at(43.0, first=41.0)), told(board=at(41.0)))
    assert heat.first == {"board": {"cpu": 41.0}}


def test_a_node_without_temperature_is_named_once() -> None:
    heat, said = heat_of()
    heat.learn(told(board=at(None)))
    heat.learn(told(board=at(None)))
    assert said == ["board: it tells no temperature, so no repeat waits for it to cool down."]


def test_an_emulated_node_is_named_once_and_only_where_cooling_down_is_asked_for() -> None:
    assert heat_of(kind="emulated")[1] == [
        "board: it is emulated and has no heat, so no repeat waits for it to cool down."
    ]
    assert heat_of(kind="emulated", cools=False)[1] == []
