"""A figure's SVG as a part of a page: it follows the page's colours, and tells its values under the pointer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from analysis.figures.drawing import Drawing
from analysis.report.colours import on_dark

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b|#[0-9a-fA-F]{3}\b")
_REFERENCE = re.compile(r"(?<=#)[^)\"' ]+(?=\))")
_REFERRED = re.compile(r"""(?:href="#|url\(#)([^")]+)""")
_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_DOUBTS = ("emulated", "invalid cells")
_WIDE_PT = 300.0


@dataclass(frozen=True)
class Inlined:
    """A figure for a page; `wide` where it is wider than a column of a paper.

    `doubts` are the marks of what is emulated or invalid that stand on it: on a narrow screen they may be out of sight.
    """

    name: str
    caption: str
    svg: str
    colours: frozenset[str]
    wide: bool
    doubts: tuple[str, ...]


def inlined(drawing: Drawing) -> Inlined:
    """A drawing's SVG without what a page has no use for; its ids are its own, its colours are variables.

    Each value lies on it as a rectangle with a `title`, which browsers show under the pointer.
    """
    root = ElementTree.fromstring(drawing.svg)  # noqa: S314  (matplotlib's own)
    colours: set[str] = set()
    _without_metadata(root)
    wanted = _referred(drawing.svg.decode())
    for element in root.iter():
        element.tag = _bare(element.tag)
        element.attrib = {
            _bare(key): _value(_bare(key), value, f"{drawing.name}-", colours)
            for key, value in element.attrib.items()
            if not key.startswith("{http://www.w3.org/XML/") and (key != "id" or value in wanted)
        }
    _, _, width, _ = (float(part) for part in root.attrib["viewBox"].split())
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "width": f"{width:g}pt",
        "role": "img",
        "aria-label": drawing.name,
    }
    root.append(_marks(drawing))
    svg = ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)
    said = {word for element in root.iter("text") for word in (element.text or "").strip().split(" + ")}
    doubts = tuple(word for word in _DOUBTS if word in said)
    return Inlined(drawing.name, drawing.caption, svg, frozenset(colours), width > _WIDE_PT, doubts)


def palette(figures: Sequence[Inlined]) -> list[tuple[str, str, str]]:
    """The variables of all colours: name, value on light, value on dark."""
    every = sorted({colour for figure in figures for colour in figure.colours} | {"#000000", "#ffffff"})
    return [(_variable(colour), colour, on_dark(colour)) for colour in every]


def _without_metadata(root: ElementTree.Element) -> None:
    for child in [child for child in root if _bare(child.tag) == "metadata"]:
        root.remove(child)


def _referred(svg: str) -> set[str]:
    """The ids that something refers to; Matplotlib gives others too, and some twice."""
    return set(_REFERRED.findall(svg))


def _bare(name: str) -> str:
    """A name without its namespace, which a page in HTML knows by itself."""
    return name.rpartition("}")[2]


def _value(key: str, value: str, prefix: str, colours: set[str]) -> str:
    if key == "d":
        # A hundredth of a point is seen by nobody, and paths are most of a page.
        return _NUMBER.sub(lambda found: f"{float(found[0]):.2f}", value)
    if key == "id":
        return prefix + value
    if key == "href":
        return f"#{prefix}{value.removeprefix('#')}"
    if key in ("clip-path", "mask", "filter"):
        return _REFERENCE.sub(lambda found: prefix + found[0], value)
    if key in ("style", "fill", "stroke"):
        found = {colour: _full(colour) for colour in _COLOUR.findall(value)}
        colours |= set(found.values())
        value = _COLOUR.sub(lambda match: f"var({_variable(found[match[0]])})", value)
        return _REFERENCE.sub(lambda match: prefix + match[0], value) if "url(#" in value else value
    return value


def _full(colour: str) -> str:
    digits = colour.lower().removeprefix("#")
    return "#" + (digits if len(digits) == 6 else "".join(2 * digit for digit in digits))


def _variable(colour: str) -> str:
    return f"--c-{colour.removeprefix('#')}"


def _marks(drawing: Drawing) -> ElementTree.Element:
    group = ElementTree.Element("g", {"class": "marks"})
    for mark in drawing.marks:
        place = {"x": mark.x, "y": mark.y, "width": mark.width, "height": mark.height}
        shape = ElementTree.SubElement(group, "rect", {name: f"{value:.1f}" for name, value in place.items()})
        ElementTree.SubElement(shape, "title").text = mark.text
    return group
