"""What a profile may say at one place, for the message about what it says instead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from devices.yamltext import shown


def choices(struct: type[msgspec.Struct], keys: Sequence[str | int]) -> str:
    """The words that a struct takes at a path of keys, such as `cpu, cuda or tensorrt`; blocks as `{key: ...}`.

    Empty where there is no choice of words, or no such path.
    """
    found = [msgspec.inspect.type_info(struct)]
    for key in keys:
        found = [inner for outer in found for inner in _inside(outer, key)]
    words = list(dict.fromkeys(word for kind in found for word in _words(kind)))
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1] if words else "")))


def keys_of(struct: type[msgspec.Struct], keys: Sequence[str | int]) -> list[str]:
    """The keys of the block that lies at a path of keys; empty where none does."""
    found = [msgspec.inspect.type_info(struct)]
    for key in keys:
        found = [inner for outer in found for inner in _inside(outer, key)]
    return [field.encode_name for kind in found for block in _plain(kind) for field in getattr(block, "fields", ())]


def _plain(kind: Any) -> Iterator[Any]:
    """A type without what is put around it: the members of a union."""
    if isinstance(kind, msgspec.inspect.UnionType):
        yield from kind.types
    else:
        yield kind


def _inside(kind: Any, key: str | int) -> Iterator[Any]:
    for one in _plain(kind):
        if isinstance(one, msgspec.inspect.StructType):
            yield from (field.type for field in one.fields if field.encode_name == key)
        elif isinstance(one, msgspec.inspect.DictType):
            yield one.value_type
        elif isinstance(one, msgspec.inspect.ListType | msgspec.inspect.VarTupleType) and isinstance(key, int):
            yield one.item_type


def _words(kind: Any) -> Iterator[str]:
    for one in _plain(kind):
        if isinstance(one, msgspec.inspect.LiteralType):
            yield from (shown(str(value)) for value in one.values)
        elif isinstance(one, msgspec.inspect.StructType):
            yield "{" + ", ".join(f"{field.encode_name}: ..." for field in one.fields if field.required) + "}"
        elif isinstance(one, msgspec.inspect.DictType | msgspec.inspect.ListType):
            inner = one.value_type if isinstance(one, msgspec.inspect.DictType) else one.item_type
            yield from _words(inner)
