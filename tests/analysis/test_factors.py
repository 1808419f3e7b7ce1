from __future__ import annotations

from msgspec.structs import replace

from analysis.factors import FACTORS, factors_of
from analysis.metrics.registry import METRICS
from testbed.record.documents import ExitDocument, LinkRef
from testbed.record.faults import FaultDocument
from testbed.record.schedules import AutoSchedule, ChosenSchedule
from testbed.record.tables import TABLES
from tests.made import records

WIFI = {
    "name": "wifi",
    "technology": "wifi",
    "up": {"mbit_s": {"mean": 40.0, "min": 40.0, "max": 40.0}, "delay_ms": 1.5, "jitter_ms": 0.5, "loss": 0.001},
    "down": {"mbit_s": None, "delay_ms": 2.5, "jitter_ms": 0.0, "loss": 0.0},
}


def test_a_manifest_says_every_factor_of_its_cell() -> None:
    rule = ExitDocument(policy="entropy", accumulate="sum", threshold=0.8)
    killed = FaultDocument(fault="cloud_killed", at_s=1.0, at_request=None, for_s=2.0, factor=None, add_ms=None)
    config = records.config(faults=[killed, replace(killed, fault="link_down")], position=3, fallback="edge_only")
    card = records.model(name="quickstart/coded")
    asked = LinkRef(requested=WIFI, curve=False)
    found = factors_of(records.manifest(exit=rule, link=asked, config=config, model=card, repeats=5))
    assert list(found) == [factor.name for factor in FACTORS]
    expected = {
        "mode": "co_inference",
        "position": 3,
        "recipe": "quickstart",
        "variant": "coded",
        "split": "layer2",
        "compression": 512.0,
        "codec": "packed",
        "exit_policy": "entropy",
        "exit_accumulate": "sum",
        "alpha": 0.8,
        "alphas": None,
        "fallback": "edge_only",
        "faults": "cloud_killed link_down",
        "link": "wifi",
        "link_up_mbit_s": 40.0,
        "link_down_mbit_s": None,
        "link_rtt_ms": 4.0,
        "link_loss_up": 0.001,
        "curve": False,
        "repeats": 5,
        "edge": "board",
        "cloud_kind": "host",
        "emulated": False,
    }
    assert {name: found[name] for name in expected} == expected


def test_what_does_not_apply_to_a_cell_is_none() -> None:
    found = factors_of(records.manifest(mode="edge_only"))
    blank = ("split", "compression", "codec", "alpha", "exit_policy", "link", "link_rtt_ms", "cloud", "cloud_kind")
    assert {found[name] for name in blank} == {None}


def test_an_emulated_node_goes_by_the_board_that_it_emulates_and_each_timestep_has_its_alpha() -> None:
    rule = ExitDocument(policy="margin", accumulate="mean", thresholds=[0.9, 0.8, 0.75])
    found = factors_of(records.manifest([records.node(records.profile(kind="emulated"))], mode="edge_only", exit=rule))
    assert (found["edge_board"], found["emulated"]) == ("Toy", True)
    assert (found["alpha"], found["alphas"]) == (None, "0.9 0.8 0.75")


def test_no_factor_goes_by_the_name_of_another_column() -> None:
    rows = {name for row in TABLES.values() for name in row.__struct_fields__}
    metrics = {column.name for metric in METRICS.values() for column in metric.columns}
    assert not {factor.name for factor in FACTORS} & (rows | metrics | {"cell", "label", "valid", "reasons"})


def test_a_schedule_that_was_chosen_is_told_as_one_that_was_said() -> None:
    chosen = ChosenSchedule(window=4, chunks=[1, 3], latency_ms=1, stop_and_wait_ms=2, edge_ms=1, wasted_timesteps=0)
    edge, cloud = records.node(), records.node(records.profile("server", "host"), "cloud")
    edge = replace(edge, repeats={"0": replace(edge.repeats["0"], schedule=chosen)})
    config = records.config(schedule=AutoSchedule(exits=[0, 0, 0, 1], sizes=[1, 3]))
    found = factors_of(records.manifest([edge, cloud], config=config))
    assert (found["schedule"], found["window"], found["chunks"]) == ("auto", 4, "1+3")
    said = factors_of(records.manifest(config=records.config(window=2, chunks=[2, 2])))
    assert (said["schedule"], said["window"], said["chunks"]) == (None, 2, "2+2")
