from __future__ import annotations

import re

import pytest

from analysis.report.colours import DARK_GROUND, READABLE, VISIBLE, contrast, on_dark
from analysis.report.page import TEMPLATES

GROUNDS = {"ink": ("back", "card", "plot", "warn-back"), "soft": ("back", "card"), "accent": ("back", "card"),
           "warn": ("back", "card", "warn-back"), "bad": ("back", "card"), "good": ("back", "card"),
           "back": ("ink",)}  # fmt: skip
"""What is written on what; the last is the tip under the pointer."""


def test_contrast_is_21_for_black_on_white_and_1_for_the_same_colour() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#0072b2", "#0072B2") == pytest.approx(1)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)  # WCAG's own example


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_every_text_of_the_report_can_be_read_on_its_ground(scheme: str) -> None:
    css = (TEMPLATES / "report.css").read_text()
    light, dark, on_paper = (dict(re.findall(r"--([\w-]+): (#\w{6})", block))
                             for block in re.findall(r":root \{(.*?)\}", css, re.S))  # fmt: skip
    colours = light | {"light": {}, "dark": dark, "print": on_paper}[scheme]
    assert {ink: {on: contrast(colours[ink], colours[on]) for on in grounds} for ink, grounds in GROUNDS.items()} == {
        ink: {on: pytest.approx(21, abs=21 - READABLE) for on in grounds} for ink, grounds in GROUNDS.items()
    }


@pytest.mark.parametrize("colour", ["#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7", "#000080"])
def test_a_colour_of_a_figure_can_be_read_on_a_dark_ground(colour: str) -> None:
    assert contrast(on_dark(colour), DARK_GROUND) >= READABLE


def test_black_and_white_trade_places_on_a_dark_ground() -> None:
    assert on_dark("#ffffff") == DARK_GROUND
    assert contrast(on_dark("#000000"), DARK_GROUND) > 10


@pytest.mark.parametrize("grey", ["#9a9a9a", "#b4b4b4"])
def test_a_faint_grey_that_draws_something_can_be_seen_on_a_dark_ground(grey: str) -> None:
    assert contrast(on_dark(grey), DARK_GROUND) >= VISIBLE


@pytest.mark.parametrize("grey", ["#dddddd", "#c8c8c8", "#555555"])
def test_a_grey_stands_out_from_a_dark_ground_as_it_did_from_white(grey: str) -> None:
    assert contrast(on_dark(grey), DARK_GROUND) == pytest.approx(contrast(grey, "#ffffff"), rel=0.1)
