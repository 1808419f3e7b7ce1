"""Height and width of samples as a recipe says them: one number for a square, or two. Needs nothing heavy."""

from __future__ import annotations

from typing import TypeAlias

Size: TypeAlias = int | tuple[int, int]
"""The side of a square, or (height, width); never two that are equal."""


def sides(size: Size) -> tuple[int, int]:
    """(Height, width)."""
    return (size, size) if isinstance(size, int) else size


def shown(size: Size) -> str:
    """`HxW`, for people."""
    return "x".join(map(str, sides(size)))
