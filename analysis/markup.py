"""Tables and text as Markdown and LaTeX read them."""

from __future__ import annotations

from collections.abc import Sequence

_SIGNS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\^{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
}
_BEYOND_ASCII = str.maketrans(
    {
        "±": r"$\pm$",
        "×": r"$\times$",
        "µ": r"$\mu$",
        "α": r"$\alpha$",
        "≥": r"$\geq$",
        "−": r"$-$",
        "–": "--",
        "·": r"$\cdot$",
        "→": r"$\rightarrow$",
    }
)
_MARKDOWN = str.maketrans({"|": "\\|", "*": "\\*", "_": "\\_", "<": "&lt;", ">": "&gt;", "`": "\\`"})
_ESCAPED = str.maketrans(_SIGNS)


def escape(text: str) -> str:
    """The text with every sign that TeX would read set as itself, in ASCII as far as the testbed's own words go."""
    return text.translate(_ESCAPED).translate(_BEYOND_ASCII)


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A pipe table, numbers to the right."""
    return _tabulated(headers, [[text.translate(_MARKDOWN) for text in row] for row in rows], "pipe")


def latex(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""A tabular with booktabs rules; the document needs `\usepackage{booktabs}`."""
    return _tabulated(headers, rows, "latex_booktabs").translate(_BEYOND_ASCII)  # tabulate has escaped what is ASCII


def _tabulated(headers: Sequence[str], rows: Sequence[Sequence[str]], layout: str) -> str:
    from tabulate import tabulate

    # Texts are numbers already rounded: none is to be read as a number again.
    sides = ("left", *("right",) * (len(headers) - 1))
    return tabulate(rows, headers, layout, disable_numparse=True, colalign=sides) + "\n"
