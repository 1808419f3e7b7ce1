"""The traces that ship are those that their seeds make."""

from __future__ import annotations

from pathlib import Path

import pytest

import devices.links
from devices.links.load import load_link
from devices.links.offered import bytes_per_second
from devices.links.synthetic import TRACES

FOLDER = Path(devices.links.__file__).parent


@pytest.mark.parametrize("name", TRACES)
def test_a_shipped_trace_is_made_again_byte_for_byte(name: str):
    made = TRACES[name]()
    assert (FOLDER / name).read_bytes() == made.encode()
    assert len(made) < 30_000


def test_every_shipped_trace_has_a_profile_that_names_maker_seed_and_licence():
    shipped = {path.name for path in FOLDER.iterdir() if path.suffix in (".csv", ".tsv", ".up", ".down")}
    assert shipped == set(TRACES)
    for name, make in TRACES.items():
        link = load_link(Path(name).stem)
        [seed] = make.__defaults__ or ()
        assert f"synthetic.py, {make.__name__}, seed {seed};" in link.source
        assert link.licence == "Apache-2.0"


def test_another_seed_makes_another_trace():
    for make in TRACES.values():
        assert make(1) != make(2)


def test_the_outages_are_outages_and_the_drive_has_fades():
    outages, drive = load_link("3g-outages").down.capacity, load_link("lte-drive").down.capacity
    assert outages is not None
    assert drive is not None
    assert (bytes_per_second(outages, 300) == 0).sum() > 20
    each = bytes_per_second(drive, 240)
    assert each.max() > 20 * each.min() > 0
