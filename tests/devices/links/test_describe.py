"""What a capacity offers, and what a manifest says of a link."""

from __future__ import annotations

import msgspec
import pytest

from devices.links.conditions import Capacity, Direction
from devices.links.describe import describe
from devices.links.load import load_link
from devices.links.offered import bytes_per_second, offered, reached, windows

PULSES = Capacity(ms=[0, 500, 1500], bytes=[0, 0, 3000])


def test_what_is_offered_is_linear_between_points_and_begins_anew():
    assert offered(PULSES, [0, 500, 750, 1500, 2000, 2250, 3000]).tolist() == [0, 0, 750, 3000, 3000, 3750, 6000]


def test_the_bytes_of_seconds_add_up_over_passes():
    assert bytes_per_second(PULSES, 3).tolist() == [1500, 1500, 3000]
    assert bytes_per_second(PULSES, 30).sum() == 20 * 3000


def test_a_second_that_begins_in_a_pass_may_run_into_the_next_one():
    assert windows(Capacity(ms=[0, 1000, 1500], bytes=[0, 1000, 5000])).tolist() == [1000, 4500]


def test_what_was_offered_is_reached_when_it_is_offered():
    moments = [600, 1400, 2001, 4400]
    assert reached(PULSES, offered(PULSES, moments)).tolist() == pytest.approx(moments)
    assert reached(PULSES, 1).item() == pytest.approx(500 + 1 / 3)


def test_a_constant_rate_offers_the_same_in_each_second():
    link = load_link("nb-iot")
    assert link.up.capacity is not None
    assert bytes_per_second(link.up.capacity, 20).tolist() == pytest.approx([7812.5] * 20)


def test_the_manifest_says_what_a_trace_does():
    link = msgspec.structs.replace(
        load_link("wifi"), up=Direction(capacity=PULSES, delay_ms=5, loss=0.1, queue_ms=7), down=Direction()
    )
    said = describe(link)
    assert said["up"] == {
        "mbit_s": {"mean": 0.016, "min": 0.012, "max": 0.012},
        "delay_ms": 5,
        "jitter_ms": 0,
        "loss": 0.1,
        "queue_ms": 7,
        "points": 3,
        "period_s": 1.5,
    }
    assert said["down"]["mbit_s"] is None
    assert said["down"]["period_s"] is None
    assert (said["name"], said["technology"], said["sha256"]) == ("wifi", "wifi", link.sha256)
    assert msgspec.json.decode(msgspec.json.encode(said)) == said


def test_a_constant_rate_has_no_period():
    said = describe(load_link("lte"))
    assert said["down"]["mbit_s"] == {"mean": 14.7, "min": 14.7, "max": 14.7}
    assert said["down"]["period_s"] is None


def test_links_that_shape_alike_have_one_hash():
    link = load_link("lte")
    assert describe(msgspec.structs.replace(link, name="other", source="none"))["sha256"] == link.sha256
    assert describe(msgspec.structs.replace(link, seed=1))["sha256"] != link.sha256
