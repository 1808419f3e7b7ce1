"""The emulated boards that ship: each figure has its source, and what they come to is near what was published."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

import devices
from devices.power.emulated import EmulatedPower
from devices.timemodel import Work
from testbed.snn.export import export_graph
from testbed.snn.graphwork import graph_work
from tests.bench import boards
from tests.made.published import (
    EMULATED,
    FULL_WIDTH,
    NETWORKS,
    PUBLISHED,
    QUICKSTART_STEP,
    Published,
    emulated,
    roofline,
)

NOT_FIGURES = {"model", "reference", "source", "rail", "rate_hz"}
ENTRY = re.compile(r"((?:[a-z0-9]+_[a-z0-9_]+, )*[a-z0-9]+_[a-z0-9_]+): (.+)")
SOURCE = re.compile(r"https://\S+\.\S+|arXiv:\d{4}\.\d+|emulated-[a-z0-9-]+\.yaml|of this testbed's")
"""A page, a paper, another profile's derivation, or a measurement of the code that runs here."""


def written(name: str) -> list[dict[str, Any]]:
    """The mappings of figures in a profile, as its file has them."""
    told = yaml.safe_load((Path(devices.__file__).parent / f"{name}.yaml").read_text())
    return [told["emulates"]["time"], *told["power"]]


def sources(reference: str) -> dict[str, str]:
    """What a reference says of each figure: its paragraphs begin with the figures' keys."""
    entries = [ENTRY.fullmatch(" ".join(line.split())) for line in reference.strip().split("\n")]
    assert all(entries), f"a paragraph names no figure: {reference}"
    return {key: entry[2] for entry in entries if entry for key in entry[1].split(", ")}


@pytest.mark.parametrize("name", EMULATED)
def test_each_figure_of_an_emulated_board_has_its_source_and_no_source_is_left_over(name: str) -> None:
    for figures in written(name):
        cited = sources(figures["reference"])
        keys = figures.keys() - NOT_FIGURES
        assert keys <= cited.keys() <= keys | {"int8_gmacs_per_s"}
        assert all(SOURCE.search(cited[key]) for key in keys if figures[key])
        assert all(re.search(r"\bnone\b", cited[key]) for key in keys if not figures[key])


@pytest.mark.parametrize("name", EMULATED)
def test_an_emulated_board_takes_no_less_when_it_is_busy(name: str) -> None:
    profile = emulated(name)
    assert profile.emulates is not None
    [power] = profile.power
    assert isinstance(power, EmulatedPower)
    assert 0 < power.idle_mw <= power.cpu_busy_mw
    assert (power.gpu_busy_mw is not None) == (profile.emulates.processor == "gpu") == ("gpu" in name or "t4" in name)
    assert power.gpu_busy_mw is None or power.idle_mw < power.gpu_busy_mw


@pytest.mark.parametrize("name", EMULATED)
def test_a_convolution_takes_an_emulated_board_as_long_as_its_figures_say(name: str, tmp_path: Path) -> None:
    conv = nn.Conv2d(64, 64, 3, padding=1)
    export_graph(conv, (torch.zeros(1, 64, 32, 32),), tmp_path / "conv.onnx")
    figures = written(name)[0]
    macs = 64 * 32 * 32 * (64 * 3 * 3)
    moved = 4 * (64 * 64 * 3 * 3 + 64 + 2 * 64 * 32 * 32)
    bound_ns = max(macs / figures["gmacs_per_s"], moved / figures["gbytes_per_s"])
    overhead_us = figures["layer_overhead_us"] + figures["call_overhead_us"]
    assert roofline(emulated(name)).call_ns(graph_work(tmp_path / "conv.onnx")) == round(bound_ns + 1000 * overhead_us)


@pytest.mark.parametrize("one", PUBLISHED, ids=lambda one: f"{one.board}, {one.network}")
def test_what_a_board_is_said_to_take_is_within_a_factor_of_two_of_what_was_measured(one: Published) -> None:
    assert 0.5 <= one.ratio <= 2


def test_every_emulated_board_is_compared_with_a_measurement() -> None:
    assert {one.board for one in PUBLISHED} == set(EMULATED)
    assert {one.network for one in PUBLISHED} == NETWORKS.keys()


@pytest.mark.parametrize(
    ("kind", "work"),
    [("", QUICKSTART_STEP), ("", FULL_WIDTH), ("-gpu", FULL_WIDTH)],
    ids=["a small network", "a large network", "a large network on the GPU"],
)
def test_a_newer_jetson_takes_less(kind: str, work: Work) -> None:
    nano, orin_nano, agx_orin = (
        roofline(emulated(f"emulated-{board}{kind}")).call_ns(work)
        for board in ("jetson-nano", "orin-nano", "agx-orin")
    )
    assert agx_orin < orin_nano < nano


def test_the_page_on_hardware_shows_what_the_profiles_say() -> None:
    page = (Path(devices.__file__).parents[1] / "docs" / "hardware.md").read_text()
    assert boards.figures() in page
    assert boards.comparison() in page
