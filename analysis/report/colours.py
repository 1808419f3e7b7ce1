"""Colours of a page on a light and on a dark ground, and how well one is read on another (WCAG 2.2)."""

from __future__ import annotations

from typing import TypeAlias

Rgb: TypeAlias = tuple[float, float, float]

DARK_GROUND, DARK_INK = "#1b1e22", "#e6e8eb"
READABLE = 4.5
"""The least contrast of text (WCAG 2.2, 1.4.3)."""
VISIBLE = 3.0
"""The least contrast of what is drawn (WCAG 2.2, 1.4.11)."""
GRID = 1.9
"""A grey of no more contrast on white is a grid or a ground, and not looked at."""
_GREY = 0.06  # the most by which the parts of a colour differ that is still called grey
_STEPS = 50


def contrast(one: str, other: str) -> float:
    """Contrast of two colours such as #0072b2: from 1 for equal ones to 21 for black on white."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def on_dark(colour: str) -> str:
    """What a colour made for white becomes on a dark ground.

    Greys stand out from the ground as much as they did from white: white is the ground, black the ink. Those that draw
    something, and are no grid, stand out enough to be seen. Other colours are mixed with white until they can be read
    as text.
    """
    parts = _parts(colour)
    grey = max(parts) - min(parts) < _GREY
    begin, end = (DARK_GROUND, DARK_INK) if grey else (colour, "#ffffff")
    wanted = _grey_on_dark(contrast(colour, "#ffffff")) if grey else READABLE
    steps = (_mixed(begin, end, step / _STEPS) for step in range(_STEPS + 1))
    return next((mixed for mixed in steps if contrast(mixed, DARK_GROUND) >= wanted), end)


def _grey_on_dark(on_white: float) -> float:
    if GRID < on_white < VISIBLE:
        return VISIBLE
    return min(on_white, contrast(DARK_INK, DARK_GROUND))


def _mixed(one: str, other: str, share: float) -> str:
    parts = (mine + share * (theirs - mine) for mine, theirs in zip(_parts(one), _parts(other), strict=True))
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)


def _parts(colour: str) -> Rgb:
    digits = colour.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    red, green, blue = (int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4))
    return red, green, blue


def _luminance(colour: str) -> float:
    linear = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in _parts(colour))
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
