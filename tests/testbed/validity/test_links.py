"""A cell with a link counts if its path was as asked for; one with faults, if they happened."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from msgspec.structs import replace

from testbed.record.documents import CellLink
from testbed.record.faults import FaultDocument, FaultKind, FaultRecord
from testbed.record.noderecord import PathMeasured
from testbed.validity import faults, path, requests
from tests.made import records

LINK = CellLink(name="wifi", sha256="0" * 64, shaping="auto")
GOOD = records.path_measured(rtt_ms=21.9, up_bytes_per_s=1.09e6, down_bytes_per_s=0.91e6)


def cell(*paths: PathMeasured, link: CellLink | None = LINK) -> Any:
    node = records.node()
    said = replace(node.repeats["0"], paths=list(paths))
    manifest = records.manifest([replace(node, repeats={"0": said})])
    return SimpleNamespace(manifest=replace(manifest, config=replace(manifest.config, link=link)))


def off(**changes: Any) -> list[str]:
    return list(path.off_target(cell(replace(GOOD, **changes), replace(GOOD, when="after"))))


def test_a_path_within_its_limits_is_the_one_that_was_asked_for():
    assert off() == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rtt_ms": 22.1}, "round trip is 22.1 ms, the link asks for 20.0 ms"),
        ({"rtt_ms": 17.9}, "round trip is 17.9 ms"),
        ({"up_bytes_per_s": 1.11e6}, "up, the path carries 8.88 Mbit/s, the link asks for 8 Mbit/s"),
        ({"down_bytes_per_s": 0.89e6}, "down, the path carries 7.12 Mbit/s"),
    ],
)
def test_a_path_off_its_target_is_told_with_number_and_limit(change: dict[str, float], words: str):
    (reason,) = off(**change)
    assert "board, repeat 0, before measuring" in reason
    assert words in reason
    assert "limit" in reason


def test_an_acknowledgement_may_stand_in_the_way_of_a_probe():
    assert off(rtt_ms=25.0, rtt_ms_unsure=3.5) == []
    assert len(off(rtt_ms=25.6, rtt_ms_unsure=3.5)) == 1


def test_losses_widen_the_limit_of_a_rate_by_what_they_may_come_to():
    assert off(lossy=True, rates_unsure=0.06, up_bytes_per_s=0.85e6) == []
    (reason,) = off(lossy=True, rates_unsure=0.04, up_bytes_per_s=0.85e6)
    assert "limit ± 14%" in reason


def test_a_rate_that_a_kernels_tcp_makes_of_losses_is_not_judged_but_its_round_trip_is():
    assert off(lossy=True, up_bytes_per_s=0.5e6) == []
    assert len(off(lossy=True, rtt_ms=30.0)) == 1


def test_a_link_that_was_not_checked_is_no_link():
    (reason,) = path.off_target(cell(GOOD))
    assert "not checked" in reason
    assert list(path.off_target(cell(link=None))) == []


def played(*kinds: FaultKind, until_ns: int | None = 2) -> list[FaultRecord]:
    return [FaultRecord(fault=kind, from_ns=1, until_ns=until_ns) for kind in kinds]


def faulty(records_of_0: list[FaultRecord], *asked: FaultKind) -> Any:
    manifest = records.manifest([records.node()])
    wanted = [
        FaultDocument(fault=kind, at_s=1.0, at_request=None, for_s=1.0, factor=None, add_ms=None) for kind in asked
    ]
    lost = pd.DataFrame({"outcome": ["ok", "timeout"]})
    config = replace(manifest.config, faults=wanted)
    return SimpleNamespace(manifest=replace(manifest, config=config, faults={"0": records_of_0}), requests=lost)


def test_every_fault_that_was_asked_for_must_have_happened_and_be_undone():
    assert list(faults.not_played(faulty(played("link_down"), "link_down"))) == []
    (missing,) = faults.not_played(faulty(played("link_down"), "link_down", "cloud_killed"))
    assert "cloud_killed did not happen" in missing
    (left,) = faults.not_played(faulty(played("link_down", until_ns=None), "link_down"))
    assert "was not undone" in left
    (second,) = faults.not_played(faulty(played("link_down"), "link_down", "link_down"))
    assert "link_down did not happen" in second


def test_losses_are_a_result_where_faults_were_asked_for():
    assert list(requests.unanswered(faulty(played("link_down"), "link_down"))) == []
    assert len(list(requests.unanswered(faulty([])))) == 1
