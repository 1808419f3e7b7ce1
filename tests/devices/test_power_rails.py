"""The rails of a board that make up the whole node are known, and what is not known is an error."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from devices.base.errors import DeviceError
from devices.base.power import Scope
from devices.power.rails import BOARDS, board_text, find_board, topology

ORIN = ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"]
XAVIER = ["GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("NVIDIA Jetson Nano Developer Kit", "Jetson Nano"),
        ("nvidia,p3449-0000-b00+p3448-0000-b00", "Jetson Nano"),
        ("jetson_tx1", "Jetson TX1"),
        ("NVIDIA Jetson TX2 Developer Kit", "Jetson TX2"),
        ("quill", "Jetson TX2"),
        ("NVIDIA Jetson TX2 NX Developer Kit", "Jetson TX2 NX"),
        ("NVIDIA Jetson Xavier NX Developer Kit (SD-card)", "Jetson Xavier NX"),
        ("Jetson-AGX", "Jetson AGX Xavier"),
        ("Jetson-AGX, nvidia,p2972-0000, nvidia,tegra194", "Jetson AGX Xavier"),
        ("NVIDIA Orin Nano Developer Kit", "Jetson Orin Nano or NX"),
        ("Somebody's carrier, nvidia,p9999-0000+p3767-0000, nvidia,tegra234", "Jetson Orin Nano or NX"),
        ("NVIDIA Jetson AGX Orin Developer Kit", "Jetson AGX Orin"),
        ("Jetson AGX Orin 32GB", "Jetson AGX Orin"),
        ("NVIDIA Jetson AGX Thor Developer Kit", "Jetson AGX Thor"),
        ("nvidia,p4071-0000+p3834-0008", "Jetson AGX Thor"),
    ],
)
def test_a_board_is_found_by_model_or_compatible(text: str, name: str) -> None:
    board = find_board(text)
    assert board is not None
    assert board.name == name


def test_a_name_means_no_more_than_one_board() -> None:
    for board in BOARDS:
        words = board.name.lower()
        assert [other.name for other in BOARDS if re.search(other.pattern, words)] == [board.name]


@pytest.mark.parametrize("text", ["", "Raspberry Pi 5 Model B Rev 1.0", "NVIDIA Orin"])
def test_what_is_no_known_board_is_none(text: str) -> None:
    assert find_board(text) is None


@pytest.mark.parametrize(
    ("model", "found", "scopes"),
    [
        ("Jetson Nano", ["POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU"], ["module", "rail", "rail"]),
        ("Jetson TX2", ["VDD_SYS_GPU", "VDD_IN", "VDD_MUX"], ["rail", "module", "rail"]),
        ("Jetson TX2", ["VDD_IN", "VDD_CPU"], ["module", "rail"]),
        ("Jetson TX2 NX", ["VDD_IN", "VDD_MUX"], ["module", "rail"]),
        ("Jetson AGX Xavier", XAVIER, ["module"] * 6),
        ("Jetson AGX Orin", ORIN, ["module"] * 3 + ["rail"]),
        ("Jetson AGX Thor", ["VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0", "VIN"], ["module"] * 3 + ["board"]),
        ("Jetson T5000", ["VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"], ["module"] * 3),
    ],
)
def test_each_rail_has_its_scope(model: str, found: list[str], scopes: list[str]) -> None:
    assert topology(model, found) == dict(zip(found, scopes, strict=True))


def test_an_unknown_board_is_an_error_that_says_what_to_write() -> None:
    with pytest.raises(DeviceError, match=r"board `Toaster` \(found: VDD_IN\); .*`rails: \{VDD_IN: module\}`"):
        topology("Toaster", ["VDD_IN"])
    with pytest.raises(DeviceError, match="without a device tree"):
        topology("", [])


def test_an_unknown_board_is_what_the_profile_says() -> None:
    assert topology("Toaster", ["A", "B", "C"], {"A": "module", "C": "module"}) == {
        "A": "module",
        "B": "rail",
        "C": "module",
    }


def test_the_profile_overrules_what_is_known() -> None:
    both: dict[str, Scope] = {"VDD_IN": "board", "VDD_MUX": "board"}
    assert topology("Jetson TX2", ["VDD_IN", "VDD_MUX"], both) == both


def test_a_total_with_a_rail_missing_is_an_error() -> None:
    with pytest.raises(DeviceError, match=r"Jetson AGX Xavier: the whole node is GPU \+ CPU .* found are: GPU, CPU;"):
        topology("Jetson AGX Xavier", XAVIER[:2])


def test_rails_that_are_named_must_be_there_and_make_a_whole() -> None:
    with pytest.raises(DeviceError, match=r"no rail named VDD_INN \(found: VDD_IN\)"):
        topology("Jetson TX2", ["VDD_IN"], {"VDD_INN": "module"})
    with pytest.raises(DeviceError, match=r"names parts alone \(VDD_IN\)"):
        topology("Jetson TX2", ["VDD_IN"], {"VDD_IN": "rail"})


def test_the_device_tree_is_read(tmp_path: Path) -> None:
    assert board_text(tmp_path) == ""
    folder = tmp_path / "proc/device-tree"
    folder.mkdir(parents=True)
    (folder / "model").write_bytes(b"NVIDIA Jetson Orin Nano Developer Kit\0")
    (folder / "compatible").write_bytes(b"nvidia,p3768-0000+p3767-0005\0nvidia,tegra234\0")
    assert board_text(tmp_path) == (
        "NVIDIA Jetson Orin Nano Developer Kit, nvidia,p3768-0000+p3767-0005, nvidia,tegra234"
    )


@pytest.mark.skipif("TESTBED_DATA" not in os.environ, reason="TESTBED_DATA names no folder of data sets")
def test_totals_of_real_tegrastats_lines_are_those_of_a_careful_reading() -> None:
    checked = 0
    for text in (Path(os.environ["TESTBED_DATA"]) / "tegrastats_lines.jsonl").read_text().splitlines():
        entry = json.loads(text)
        rails, expected = entry["expected"]["rails_mw"], entry["expected"]["total_power_mw"]
        if expected is None:
            continue
        scopes = topology(entry["board"], rails)
        widest = next(scope for scope in ("board", "module") if scope in scopes.values())
        assert sum(rails[rail][0] for rail, scope in scopes.items() if scope == widest) == expected
        checked += 1
    assert checked >= 20
