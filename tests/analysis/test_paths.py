"""A cell's link as the report tells it: asked, had, and broken on purpose."""

from __future__ import annotations

from types import SimpleNamespace

from msgspec.structs import replace

from analysis.paths import lines
from testbed.record.documents import LinkRef
from testbed.record.faults import FaultRecord
from tests.made import records

PATH = records.path_measured(
    rtt_ms=21.93,
    up_bytes_per_s=1.25e6,
    up_bytes_per_s_asked=1.3e6,
    down_bytes_per_s=None,
    down_bytes_per_s_asked=None,
)


def test_a_link_is_told_with_what_was_had_of_it_and_what_was_done_to_it():
    node = records.node()
    said = node.repeats["0"]
    said = replace(said, paths=[PATH], loaded=replace(said.loaded, shaping="user"))
    manifest = records.manifest([replace(node, repeats={"0": said})])
    manifest = replace(
        manifest,
        link=LinkRef(requested={"name": "wifi"}, curve=True),
        faults={"0": [FaultRecord(fault="link_down", from_ns=1_000_000_000, until_ns=3_500_000_000)]},
    )
    assert list(lines(SimpleNamespace(manifest=manifest))) == [  # type: ignore[arg-type]
        ("link", "wifi; imposed by a process beside the cloud"),
        ("path had, of asked", "board, repeat 0, before: round trip 21.9 of 20.0 ms, up 10.0 of 10.4 Mbit/s"),
        ("fault", "repeat 0: link_down, 2.50 s"),
    ]


def test_a_rate_that_cannot_be_judged_says_so():
    def told(**changes):
        node = records.node()
        said = replace(node.repeats["0"], paths=[replace(PATH, **changes)])
        link = LinkRef(requested={"name": "wifi"}, curve=True)
        manifest = records.manifest([replace(node, repeats={"0": said})], link=link)
        return dict(lines(SimpleNamespace(manifest=manifest)))["path had, of asked"]

    assert "rates not judged" in told(lossy=True)
    assert "not judged" not in told(lossy=True, rates_unsure=0.01)
    assert "not judged" not in told()


def test_a_cell_without_a_link_has_nothing_to_tell():
    assert list(lines(SimpleNamespace(manifest=records.manifest([records.node()])))) == []  # type: ignore[arg-type]
