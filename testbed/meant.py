"""What an unknown key was meant to be: one that is spelled alike in the same block, or one of that name elsewhere."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from typing import Any, get_args

import pydantic

ALIKE = 0.75
"""Share of letters in common from which a key is taken for a misspelling."""

Model = type[pydantic.BaseModel]


def leaves(annotation: Any) -> Iterator[Any]:
    """The plain types of an annotation: int and NoneType of `tuple[int, ...] | None`."""
    yield from (leaf for part in get_args(annotation) for leaf in leaves(part))
    if not get_args(annotation) and isinstance(annotation, type):
        yield annotation


def meant(model: Model, keys: Sequence[str | int], given: Collection[Any] = ()) -> str | None:
    """The key that an unknown one at a path of a model's content may stand for, dotted where it lies elsewhere.

    It is none of those that are `given` in the block beside it.
    """
    *block, unknown = keys
    at = {model}
    for key in block:
        at = {below for one in at for below in _below(one).get(str(key), [])} or at  # a position or a name stays
    known = sorted({name for one in at for name in _below(one) if name not in given})
    alike = difflib.get_close_matches(str(unknown), known, 1, ALIKE)
    if alike:
        return alike[0]
    elsewhere = {path for path in _paths(model, ()) if path[-1] == unknown}
    return ".".join(elsewhere.pop()) if len(elsewhere) == 1 else None


def _below(model: Model) -> dict[str, list[Model]]:
    """A model's keys as a file has them, and the blocks that each may hold."""
    return {
        field.alias or name: [leaf for leaf in leaves(field.annotation) if issubclass(leaf, pydantic.BaseModel)]
        for name, field in model.model_fields.items()
    }


def _paths(model: Model, above: tuple[Model, ...]) -> Iterator[tuple[str, ...]]:
    """The path of each key below a model."""
    for name, blocks in _below(model).items():
        yield (name,)
        for block in blocks:
            if block not in above:
                yield from ((name, *path) for path in _paths(block, (*above, model)))
