from __future__ import annotations

from types import SimpleNamespace

from analysis.figures.hover import Mark
from analysis.report.inline import inlined, palette

SVG = b"""<?xml version="1.0" encoding="utf-8" standalone="no"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 500 100" version="1.1">
<metadata><title xmlns="http://purl.org/dc/elements/1.1/">x</title></metadata>
<defs><path id="m1" d="M 0.123456 -10.98765 L 5 0.5" style="stroke: #0072B2"/>
<clipPath id="p1"><rect width="1" height="1"/></clipPath></defs>
<g id="label"/><g id="label" clip-path="url(#p1)"><use xlink:href="#m1" style="fill: #fff"/></g>
<text>emulated + invalid cells</text><text style="fill: #555555">co-inference &lt;b&gt;</text>
</svg>"""


def a_drawing(name: str = "stages"):
    return SimpleNamespace(name=name, caption="what", svg=SVG, marks=[Mark(1, 2, 3.25, 4, "<b> & 5 ms")])


def test_a_figure_brings_no_address_and_no_metadata_into_the_page() -> None:
    svg = inlined(a_drawing()).svg
    assert "http" not in svg
    assert "metadata" not in svg
    assert svg.startswith('<svg viewBox="0 0 500 100"')


def test_paths_have_hundredths_of_a_point_and_no_more() -> None:
    assert 'd="M 0.12 -10.99 L 5 0.5"' in inlined(a_drawing()).svg


def test_two_figures_share_no_ids() -> None:
    svg = inlined(a_drawing("power")).svg
    assert 'id="power-m1"' in svg
    assert 'href="#power-m1"' in svg
    assert 'clip-path="url(#power-p1)"' in svg
    assert svg.count(" id=") == 2  # what nothing refers to has none


def test_colours_become_variables_that_have_a_value_for_either_ground() -> None:
    figure = inlined(a_drawing())
    assert "stroke: var(--c-0072b2)" in figure.svg
    assert "fill: var(--c-ffffff)" in figure.svg
    assert {name for name, _, _ in palette([figure])} == {"--c-000000", "--c-0072b2", "--c-555555", "--c-ffffff"}


def test_values_lie_on_a_figure_as_text_and_never_as_markup() -> None:
    svg = inlined(a_drawing()).svg
    assert '<rect x="1.0" y="2.0" width="3.2" height="4.0"><title>&lt;b&gt; &amp; 5 ms</title></rect>' in svg
    assert "<b>" not in svg


def test_the_marks_on_a_figure_are_told_beside_it_too() -> None:
    assert inlined(a_drawing()).doubts == ("emulated", "invalid cells")
