"""Who shapes a link is chosen by what the nodes can do, and why it is not the kernel is said."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from devices.links.load import load_link
from devices.profile import Profile, load_profile
from testbed.errors import WorkerError
from testbed.experiment import Deadlines
from testbed.link.messages import AskShaping, CanShape, CellConfig
from testbed.orchestrator import Attempt
from testbed.orchestrator.participants import participants
from testbed.orchestrator.shaping import Chosen, choose, may_use_kernel
from testbed.record.faults import FaultDocument
from testbed.record.layout import AttemptFolder

HOST = load_profile(Path(__file__).parents[3] / "devices" / "host.yaml")


def node(name: str, address: str = "127.0.0.1") -> Profile:
    return msgspec.structs.replace(HOST, name=name, address=address)


def attempt(*, address: str = "10.9.0.9", edges: int = 1, **changes: Any) -> Attempt:
    nodes = participants([("cloud", node("server", address)), *[("edge", node("board"))] * edges])
    asked = {"link": load_link("wifi"), "participants": nodes, **changes}
    return Attempt(
        folder=AttemptFolder(Path("attempt")),
        logs=Path("logs"),
        repeat=0,
        config=CellConfig(mode="co_inference", timeout_ms=100),
        artefact=Path("model"),
        artefact_hash="",
        bundle=Path("bundle"),
        bundle_hash="",
        samples=[],
        warmup=[],
        idle_s=0,
        curve=True,
        deadlines=Deadlines(),
        **asked,
    )


class Nodes:
    """Answers for nodes that can, but for the reasons given; keeps what was asked."""

    def __init__(self, *, same_place: bool = False, **reasons: str) -> None:
        self._reasons, self._same = reasons, same_place
        self.asked: list[tuple[str, AskShaping]] = []

    async def ask(self, name: str, order: AskShaping) -> CanShape:
        self.asked.append((name, order))
        address = f"10.9.0.{1 if self._same else len(self.asked)}"
        return CanShape(reasons=[self._reasons[name]] if name in self._reasons else [], address=address)

    def choose(self, attempt: Attempt) -> Chosen:
        return asyncio.run(choose(attempt, self.ask))


def test_kernels_that_can_shape_the_link_do_and_the_cloud_is_told_where_its_edges_are() -> None:
    nodes = Nodes()
    assert nodes.choose(attempt(edges=2)) == Chosen("tc", [], ["10.9.0.1", "10.9.0.2"])
    assert [(name, order.role, order.peers) for name, order in nodes.asked] == [
        ("board", "edge", ["10.9.0.9"]),
        ("board-2", "edge", ["10.9.0.9"]),
        ("server", "cloud", ["10.9.0.1", "10.9.0.2"]),
    ]
    assert nodes.choose(attempt(shaping="tc")).shaping == "tc"


def test_a_process_beside_the_cloud_takes_over_where_a_kernel_cannot_and_each_node_says_why() -> None:
    nodes = Nodes(board="no module sch_netem", server="needs root")
    assert nodes.choose(attempt()) == Chosen("user", ["board: no module sch_netem", "server: needs root"], [])


def test_kernels_that_were_asked_for_by_name_are_not_replaced() -> None:
    with pytest.raises(WorkerError, match=r"link wifi .*: server: needs root\. Use shaping: user, or see"):
        Nodes(server="needs root").choose(attempt(shaping="tc"))


def test_a_link_over_loopback_is_never_the_kernels() -> None:
    nodes = Nodes()
    chosen = nodes.choose(attempt(address="127.0.0.1"))
    assert chosen.shaping == "user"
    assert chosen.because == ["server: its address is 127.0.0.1, and both ends cannot shape one loopback interface"]
    with pytest.raises(WorkerError, match=r"127\.0\.0\.1.*shaping: user"):
        nodes.choose(attempt(address="127.0.0.1", shaping="tc"))
    assert nodes.asked == []


def test_nobody_is_asked_where_nothing_is_left_to_choose() -> None:
    nodes = Nodes()
    assert nodes.choose(attempt(link=None)) == Chosen(None, [], [])
    assert nodes.choose(attempt(shaping="user")) == Chosen("user", [], [])
    assert nodes.asked == []


def test_edges_of_one_machine_cannot_both_shape_there() -> None:
    (because,) = Nodes(same_place=True).choose(attempt(edges=2)).because
    assert because.startswith("board-2: it shares 10.9.0.1 with another edge")


@pytest.mark.parametrize(("kind", "will_delay"), [("link_delay", True), ("link_rate", False)])
def test_a_fault_that_adds_delay_is_asked_for_too(kind: str, will_delay: bool) -> None:
    fault = FaultDocument(fault=kind, at_s=1, at_request=None, for_s=1, factor=None, add_ms=None)
    nodes = Nodes()
    nodes.choose(attempt(faults=[fault]))
    assert [order.will_delay for _, order in nodes.asked] == [will_delay] * 2


def test_nodes_need_what_a_kernel_takes_only_where_it_may_be_used() -> None:
    near, far = participants([("cloud", node("near")), ("cloud", node("far", "10.9.0.9"))])
    assert may_use_kernel("auto", far)
    assert may_use_kernel("tc", far)
    assert not may_use_kernel("user", far)
    assert not may_use_kernel("auto", near)
