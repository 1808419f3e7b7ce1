"""Profiles of links: what ships, what one may write, and what a mistake is told."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

import devices.links
from devices.base.errors import DeviceError
from devices.links.conditions import Link
from devices.links.load import link_names, load_link
from devices.yamltext import YamlError

FOLDER = Path(devices.links.__file__).parent
TEXT = """\
name: lab
title: a bench
technology: other
up:
  mbit_s: 2
  delay_ms: 5
down:
  trace: drive.csv
  delay_ms: 10
  jitter_ms: 1.5
  loss: 0.01
  queue_ms: 100
mtu: 1400
seed: 7
source: made up,
  over two lines
licence: CC0-1.0
"""


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    (tmp_path / "drive.csv").write_text("seconds,up_mbit_s,down_mbit_s\n0,1,8\n1,1,4\n")
    (tmp_path / "lab.yaml").write_text(TEXT)
    return tmp_path / "lab.yaml"


@pytest.mark.parametrize("technology", ["ethernet", "wifi", "5g", "lte", "3g", "nb-iot"])
def test_each_technology_has_a_profile_of_its_name(technology: str):
    link = load_link(technology)
    assert link.technology == technology
    assert link.up.capacity is not None
    assert link.down.capacity is not None


@pytest.mark.parametrize("name", link_names())
def test_a_shipped_profile_says_where_its_figures_are_from(name: str):
    link = load_link(name)
    assert link.name == name
    assert len(link.source) > 40
    assert "\n" not in link.source


def test_a_profile_of_ones_own_is_read(profile: Path):
    link = load_link("lab.yaml", profile.parent)
    assert link == load_link(profile)
    assert (link.name, link.mtu, link.seed, link.licence) == ("lab", 1400, 7, "CC0-1.0")
    assert link.source == "made up, over two lines"
    assert link.up.capacity is not None
    assert link.up.capacity.mean_bytes_per_s == 250_000
    assert link.up.queue_ms is None
    assert link.down.capacity is not None
    assert link.down.capacity.bytes == [0, 1_000_000, 1_500_000]
    assert (link.down.delay_ms, link.down.jitter_ms, link.down.loss, link.down.queue_ms) == (10, 1.5, 0.01, 100)


def test_a_link_travels_in_a_message():
    link = load_link("lte")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(link), type=Link) == link


@pytest.mark.parametrize("rate", ["0.026", "0.0625", "1", "14.7", "975"])
def test_a_constant_rate_is_exact(profile: Path, rate: str):
    profile.write_text(TEXT.replace("mbit_s: 2", f"mbit_s: {rate}"))
    capacity = load_link(profile).up.capacity
    assert capacity is not None
    assert capacity.mean_bytes_per_s == pytest.approx(float(rate) * 125_000, rel=1e-12)


def test_a_direction_without_a_rate_is_as_fast_as_the_path(profile: Path):
    profile.write_text(TEXT.replace("  mbit_s: 2\n", ""))
    assert load_link(profile).up.capacity is None


@pytest.mark.parametrize(
    ("before", "after", "line", "said"),
    [
        ("technology: other", "technology: 6g", 3, "expected 3g, 5g, ethernet, lte, nb-iot, other or wifi"),
        ("  loss: 0.01", "  loss: 1", 11, "down.loss: Expected `float` < 1.0"),
        ("  loss: 0.01", "  loss: .nan", 11, "down.loss: Expected a finite number"),
        ("  mbit_s: 2", "  mbit_s: 0", 5, "up.mbit_s"),
        ("  mbit_s: 2", "  mbits: 2", 5, "expected mbit_s, trace, format, delay_ms, jitter_ms, loss, queue_ms"),
        ("  trace: drive.csv", "  trace: drive.csv\n  mbit_s: 3", 8, "either `mbit_s:` or `trace:`"),
        ("  mbit_s: 2", "  format: csv", 5, "up.format: Expected `format:` beside `trace:` only"),
        ("  trace: drive.csv", "  trace: other.csv", 8, "other.csv: cannot be read: No such file"),
        (
            "  trace: drive.csv",
            "  trace: drive.csv\n  format: mahimahi",
            8,
            "drive.csv:1: expected a whole number of ms",
        ),
        ("mtu: 1400", "mtu: 100", 13, "mtu: Expected `int` >= 576"),
        ("source: made up,\n  over two lines\n", "", 1, "missing required field `source`"),
    ],
)
def test_a_mistake_names_file_line_and_choices(profile: Path, before: str, after: str, line: int, said: str):
    assert before in TEXT
    profile.write_text(TEXT.replace(before, after))
    with pytest.raises(YamlError) as error:
        load_link(profile)
    assert str(error.value).startswith(f"{profile}:{line}: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_name_that_is_no_link_lists_those_that_are(tmp_path: Path):
    with pytest.raises(DeviceError, match=r"no link named `wify`.* expected .*lte,.* wifi,.* a profile"):
        load_link("wify", tmp_path)


def test_a_file_that_is_called_like_a_link_is_found_by_its_path(tmp_path: Path):
    (tmp_path / "wifi").write_text("0 1\n1 1\n")
    assert load_link("wifi", tmp_path).technology == "wifi"
    assert load_link("./wifi", tmp_path).technology == "other"


def test_the_two_files_of_a_mahimahi_trace_find_each_other(tmp_path: Path):
    (tmp_path / "drive.up").write_text("10\n")
    (tmp_path / "drive.down").write_text("5\n")
    link = load_link(tmp_path / "drive.down")
    assert link == load_link(tmp_path / "drive.up")
    assert link.name == "drive"
    assert link.up.capacity is not None
    assert link.up.capacity.ms == [0, 9, 10]
    assert link.down.capacity is not None
    assert link.down.capacity.ms == [0, 4, 5]
    (tmp_path / "drive.up").unlink()
    with pytest.raises(DeviceError, match=r"drive.down: expected drive.up beside it"):
        load_link(tmp_path / "drive.down")


def test_a_trace_alone_claims_no_technology_and_no_delay(tmp_path: Path):
    (tmp_path / "bus.csv").write_text("ms,bytes\n0,1000\n500,2000\n")
    link = load_link(tmp_path / "bus.csv")
    assert (link.name, link.technology, link.up.delay_ms, link.down.loss) == ("bus", "other", 0, 0)
    assert link.up == link.down
    assert link.source == "trace file bus.csv, for both directions"


@pytest.mark.skipif("TESTBED_DATA" not in os.environ, reason="TESTBED_DATA names no folder with recordings")
def test_recorded_traces_of_others_load():
    recorded = Path(os.environ["TESTBED_DATA"]) / "network"
    verizon = load_link(recorded / "Verizon-LTE-short.up")
    for direction, ending, lines in ((verizon.up, "up", 69_367), (verizon.down, "down", 58_655)):
        assert direction.capacity is not None
        assert direction.capacity.bytes[-1] == 1500 * lines, ending
        assert direction.capacity.ms[-1] == 140_000
    bus = load_link(recorded / "norway_bus_12")
    assert bus.down.capacity is not None
    assert bus.down.capacity.ms[1:3] == [1870, 2210]
    assert bus.down.capacity.bytes[1] == round(0.773050543826 * 125 * 1870)
