"""The page that figures go on: how wide it is, and how large its letters and lines are."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from testbed.errors import RecordError

DPI = 200
"""Of pictures. Figures are laid out for it, since letters are not as wide at every resolution."""
_SMALL_PT, _NORMAL_PT = 7.0, 8.0


@dataclass(frozen=True)
class Look:
    """The page that a figure goes on.

    Attributes:
        width_in: the figure's width, inches.
        scale: of all letters, lines and heights, where 1 is print with letters of 7 and 8 pt.
        across: how many panels stand side by side at most.
        most_in: what the panels may take of the page's height, inches.
    """

    width_in: float
    scale: float
    across: int
    most_in: float

    @property
    def room_in(self) -> float:
        """The width as if letters had the size of print."""
        return self.width_in / self.scale

    @property
    def most_high_in(self) -> float:
        """The height as if letters had the size of print."""
        return self.most_in / self.scale

    @property
    def narrow(self) -> bool:
        """Whether a name and its bar have no room side by side."""
        return self.room_in < 5


# IEEE: one column 3.5 in, two columns 7.16 in (IEEE Author Center, "Preparing graphics"). ACM: 3.33 in, a column of
# acmart's sigconf. A slide is 13.33 in by 7.5 in; what is left beside its margins and its title.
LOOKS = {
    "ieee": Look(3.5, 1.0, 1, 8.8),
    "ieee-wide": Look(7.16, 1.0, 3, 8.8),
    "acm": Look(3.33, 1.0, 1, 8.8),
    "slide": Look(12.5, 1.75, 3, 5.6),
}
DEFAULT_LOOK = "ieee-wide"
_NAME: contextvars.ContextVar[str] = contextvars.ContextVar("look", default=DEFAULT_LOOK)


def look() -> Look:
    """The look that figures are drawn in now."""
    return LOOKS[_NAME.get()]


@contextlib.contextmanager
def using(name: str) -> Iterator[Look]:
    """Draw in a look.

    Raises:
        RecordError: there is none of that name.
    """
    import matplotlib as mpl

    if name not in LOOKS:
        raise RecordError(f"no style {name!r} of figures; there are {', '.join(LOOKS)}")
    token = _NAME.set(name)
    try:
        with mpl.rc_context(_settings()):
            yield LOOKS[name]
    finally:
        _NAME.reset(token)


def pt(points: float) -> float:
    """So many points of print, in the look of now."""
    return points * look().scale


def small() -> float:
    """The size of the smallest letters, in points: nothing on a figure is set smaller."""
    return pt(_SMALL_PT)


def _settings() -> Any:
    return {
        "font.family": "sans-serif",
        "font.size": pt(_NORMAL_PT),
        "axes.titlesize": pt(_NORMAL_PT),
        "axes.labelsize": pt(_NORMAL_PT),
        "xtick.labelsize": small(),
        "ytick.labelsize": small(),
        "legend.fontsize": small(),
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": pt(0.6),
        "grid.linewidth": pt(0.4),
        "grid.color": "#DDDDDD",
        "axes.axisbelow": True,
        "hatch.linewidth": pt(0.6),
        **{f"{axis}tick.major.{part}": pt(size) for axis in "xy" for part, size in (("width", 0.6), ("size", 3.0))},
        **{f"{axis}tick.minor.{part}": pt(size) for axis in "xy" for part, size in (("width", 0.4), ("size", 1.8))},
        "figure.constrained_layout.w_pad": pt(3) / 72,
        "figure.constrained_layout.h_pad": pt(3) / 72,
        "text.hinting": "none",
        "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
        "svg.fonttype": "none",
        "svg.hashsalt": "testbed",  # the same figure has the same ids every time
    }
