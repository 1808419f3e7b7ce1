"""Modes of other packages: installed beside the testbed, found by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.base.errors import TestbedError
from testbed.experiment import CellSpec, label
from testbed.modes import facts_of, mode_names
from testbed.modes.registry import modes
from tests.devices.base.installed import install

OWN = ("edge_only", "cloud_only", "co_inference")
FOG = """
import msgspec
from testbed.modes.cloud_only import CloudOnly

class FogOnly(CloudOnly):
    facts = msgspec.structs.replace(CloudOnly.facts, name="fog_only", title="fog alone")

class Blank:
    facts = FogOnly.facts

MODE, BLANK = FogOnly(), Blank()
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    modes.cache_clear()
    yield tmp_path
    modes.cache_clear()
    sys.modules.pop("modes_of_a_lab", None)


def add(site: Path, entry: str) -> None:
    install(site, "lab-modes", {"testbed.modes": entry}, {"modes_of_a_lab.py": FOG})


def test_a_mode_of_a_package_is_one_that_a_cell_may_have(site):
    add(site, "fog_only = modes_of_a_lab:MODE")
    assert mode_names() == (*OWN, "fog_only")
    assert facts_of("fog_only").roles == ("edge", "cloud")
    assert label(CellSpec(mode="fog_only", model="plain"), 32) == "fog alone"


def test_what_fits_the_mode_is_asked_of_its_description(site):
    add(site, "fog_only = modes_of_a_lab:MODE")
    with pytest.raises(ValueError, match="a codec belongs to co_inference, not to fog_only"):
        CellSpec(mode="fog_only", model="plain", codec="packed")
    with pytest.raises(ValueError, match="fog_only sends its input once, so there is nothing to exit from"):
        CellSpec(mode="fog_only", model="plain", exit={"threshold": 0.9})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("edge_only = modes_of_a_lab:MODE", "'edge_only' of testbed.modes may not be named so"),
        ("fog = modes_of_a_lab:MODE", "the plug-in 'fog' of testbed.modes is no mode: .* name='fog'"),
        ("fog_only = modes_of_a_lab:FogOnly", "must be an object"),
        ("fog_only = modes_of_a_lab:BLANK", "with edge and cloud"),
    ],
)
def test_what_is_no_mode_is_one_line_that_says_what_to_do(site, entry, message):
    add(site, entry)
    with pytest.raises(TestbedError, match=message) as caught:
        mode_names()
    assert "\n" not in str(caught.value)
