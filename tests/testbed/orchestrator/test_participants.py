"""Identity is not role: who takes part, and under which name."""

from __future__ import annotations

from testbed.orchestrator.participants import participants, taking_part
from tests.made import records


def test_a_participant_is_named_after_its_profile_and_plays_its_role() -> None:
    edge, cloud = participants([("edge", records.profile("orin-01")), ("cloud", records.profile("gpu", "host"))])
    assert (edge.id, edge.role, cloud.id, cloud.role) == ("orin-01", "edge", "gpu", "cloud")


def test_nodes_of_one_profile_are_told_apart() -> None:
    board = records.profile("orin")
    named = participants([("edge", board), ("edge", board), ("edge", records.profile("orin-2")), ("edge", board)])
    assert [node.id for node in named] == ["orin", "orin-2", "orin-2-2", "orin-3"]


def test_an_id_is_a_folder_and_a_word_whatever_a_profile_is_named() -> None:
    names = ["../up", "a board", ".hidden", "-option", "Büro/1", "…"]
    named = [node.id for node in participants(("edge", records.profile(name)) for name in names)]
    assert named == ["up", "a-board", "hidden", "option", "B-ro-1", "edge"]


def test_who_takes_part_is_said_by_the_mode() -> None:
    nodes = participants(
        [("edge", records.profile("a")), ("edge", records.profile("b")), ("cloud", records.profile("c"))]
    )
    assert [node.id for node in taking_part(nodes, "edge_only")] == ["a", "b"]
    assert [node.id for node in taking_part(nodes, "co_inference")] == ["a", "b", "c"]
