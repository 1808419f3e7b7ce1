"""`python -m testbed.experiment.document` writes the table of keys into docs/experiment.md, from the models."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pydantic
from pydantic.fields import FieldInfo

from testbed.experiment.spec import Experiment
from testbed.link.codec import codec_names
from testbed.modes import mode_names
from testbed.record.exits import policy_names

PAGE = Path(__file__).parents[2] / "docs" / "experiment.md"
BEGIN, END = "<!-- keys: python -m testbed.experiment.document -->\n", "<!-- end of keys -->\n"
HEADERS = ("key", "default", "unit", "values", "meaning")
UNITS = {"mbit_s": "Mbit/s", "_ms": "ms", "_s": "s", "_c": "°C", "drop": "points"}
"""Of keys that end so."""
CHOICES: Mapping[str, Callable[[], Sequence[str]]] = {"mode": mode_names, "codec": codec_names, "policy": policy_names}
"""Of keys whose values are a registry's names."""


@dataclass(frozen=True)
class Key:
    """One key: its path from the top of the file, and what a file may say there."""

    path: str
    default: str
    unit: str
    values: str
    meaning: str


def page(text: str) -> str:
    """The text of the page with its table made anew.

    Raises:
        ValueError: the lines between which the table stands are not there.
    """
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        raise ValueError(f"no table of keys between {BEGIN.strip()} and {END.strip()}")
    rows = [HEADERS, ("---",) * len(HEADERS)]
    rows += [(f"`{key.path}`", key.default, key.unit, key.values, key.meaning) for key in keys(Experiment)]
    table = "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in rows)
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def keys(block: type[pydantic.BaseModel], above: str = "") -> Iterator[Key]:
    """Every key of a block and of the blocks in it, in their order."""
    for name, field in block.model_fields.items():
        path = above + name
        parts = list(_parts(field.annotation))
        blocks = [(step, part) for step, part in parts if _is_block(part)]
        if len(blocks) < len(parts) or field.description:
            meaning, _, otherwise = (field.description or "").partition("default: ")
            meaning = meaning.rstrip(" ;,")
            yield Key(path, otherwise or _default(field), _unit(name), _values(name, field), meaning)
        for step, inner in blocks:
            yield from keys(inner, f"{path}{step}.")


def _parts(annotation: Any, step: str = "") -> Iterator[tuple[str, Any]]:
    """What a value may be, and the step of a path that leads to it: `.N` into a list, `.NAME` into names."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _parts(inside[0], step)
    elif origin in (Union, UnionType):
        for each in inside:
            yield from _parts(each, step)
    elif origin is tuple:
        yield from _parts(inside[0], f"{step}.N")
    elif origin is dict and _is_block(inside[1]):
        yield from _parts(inside[1], f"{step}.NAME")
    elif annotation is not NoneType:
        yield step, annotation


def _is_block(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, pydantic.BaseModel):
        return "as below"
    if value is None or value in ((), {}):
        return "none"
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _unit(name: str) -> str:
    return next((unit for end, unit in UNITS.items() if name.endswith(end)), "")


def _values(name: str, field: FieldInfo) -> str:
    """The bounds of a number or of a length, or the words that there are."""
    if name in CHOICES:
        return ", ".join(CHOICES[name]())
    limits = _limits(field)
    parts = list(_parts(field.annotation))
    kinds = [part for _, part in parts]
    words = [str(word) for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    if words:
        return ", ".join(words)
    if bool in kinds:
        return "true, false"
    longest = limits.get("max_length")
    if str in kinds and longest:
        return f"{longest} characters at most"
    if longest and any(step.endswith(".N") for step, _ in parts):
        return ", ".join(filter(None, (_range(limits), f"{longest} entries at most")))
    return _range(limits)


def _limits(field: FieldInfo) -> dict[str, Any]:
    """The constraints of a field and of what lies inside its annotation; the outer ones last, which are its own."""
    found: dict[str, Any] = {}

    def look(metadata: Sequence[Any]) -> None:
        for each in metadata:
            if isinstance(each, FieldInfo):
                look(each.metadata)
            for limit in ("ge", "gt", "le", "lt", "max_length"):
                if getattr(each, limit, None) is not None:
                    found[limit] = getattr(each, limit)

    def into(annotation: Any) -> None:
        if get_origin(annotation) is Annotated:
            look(get_args(annotation)[1:])
        for part in get_args(annotation):
            into(part)

    into(field.annotation)
    look(field.metadata)
    return found


def _range(limits: Mapping[str, Any]) -> str:
    least = f"{_number(limits['ge'])}" if "ge" in limits else f"above {_number(limits['gt'])}" if "gt" in limits else ""
    most = f"{_number(limits['le'])}" if "le" in limits else f"below {_number(limits['lt'])}" if "lt" in limits else ""
    if least and most:
        return f"{least}{',' if 'gt' in limits else ''} to {most}"
    return least and f"{least} or more"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
