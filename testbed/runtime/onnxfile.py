"""Reads ONNX files with numpy alone, so that a node needs neither the `onnx` package nor protobuf.

The field numbers are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto), the encoding is
protobuf's (https://protobuf.dev/programming-guides/encoding/). Read is what step graphs have; the rest is passed over,
or refused where it would change what is computed.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from testbed.errors import ModelError

Attribute: TypeAlias = "int | float | str | list[int] | list[float] | NDArray[Any]"

DTYPES: dict[int, type[np.generic]] = {
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    5: np.int16,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
    10: np.float16,
    11: np.float64,
}
"""ONNX's number of a type of elements → numpy's."""

_EXTERNAL = 1
_Fields: TypeAlias = "defaultdict[int, list[Any]]"


class Value(NamedTuple):
    """An input or output; a dimension that is left open is None."""

    name: str
    dtype: type[np.generic]
    shape: list[int | None]


class Node(NamedTuple):
    """One operator; an input that is left out has an empty name."""

    kind: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Attribute]


class Model(NamedTuple):
    """A graph, its nodes in an order in which each has its inputs."""

    nodes: list[Node]
    constants: dict[str, NDArray[Any]]
    inputs: list[Value]
    outputs: list[Value]


def read_model(path: Path) -> Model:
    """Read an ONNX file.

    Raises:
        ModelError: it is missing, is no ONNX file, or holds something that is not read.
    """
    try:
        model = _fields(memoryview(path.read_bytes()))
        (graph,) = model[7]
        fields = _fields(graph)
        constants = dict(map(_tensor, fields[5]))
        inputs = [value for value in map(_value, fields[11]) if value.name not in constants]
        return Model(list(map(_node, fields[1])), constants, inputs, list(map(_value, fields[12])))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except (ValueError, IndexError, struct.error, TypeError) as error:
        raise ModelError(f"{path}: not an ONNX file, or a broken one") from error


def _fields(data: memoryview) -> _Fields:
    """Number → values of a message: integers, or the bytes of all else."""
    found: _Fields = defaultdict(list)
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            found[key >> 3].append(value)
            continue
        if kind == 2:
            size, at = _varint(data, at)
        else:
            size = {1: 8, 5: 4}.get(kind, -1)
        if size < 0 or at + size > len(data):
            raise ValueError("no such field")
        found[key >> 3].append(data[at : at + size])
        at += size
    return found


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number of 64 bits, seven in each byte, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return (value - (1 << 64) if value >= 1 << 63 else value), at
        if shift >= 70:
            raise ValueError("no such number")


def _integers(values: list[Any]) -> list[int]:
    """A repeated number, which a writer may have packed."""
    found = list[int]()
    for value in values:
        if isinstance(value, int):
            found.append(value)
            continue
        at = 0
        while at < len(value):
            number, at = _varint(value, at)
            found.append(number)
    return found


def _floats(values: list[Any]) -> list[float]:
    return [float(one) for value in values for one in np.frombuffer(value, "<f4")]


def _text(values: list[Any]) -> str:
    return bytes(values[-1]).decode() if values else ""


def _node(data: memoryview) -> Node:
    fields = _fields(data)
    kind, domain = _text(fields[4]), _text(fields[7])
    if domain not in ("", "ai.onnx"):
        raise ModelError(f"{kind} of {domain} is not an operator of ONNX's own")
    inputs, outputs = ([bytes(name).decode() for name in fields[number]] for number in (1, 2))
    return Node(kind, inputs, outputs, dict(_attribute(kind, each) for each in fields[5]))


def _attribute(kind: str, data: memoryview) -> tuple[str, Attribute]:
    fields = _fields(data)
    name = _text(fields[1])
    match fields[20][-1]:
        case 1:
            return name, _floats(fields[2])[-1] if fields[2] else 0.0
        case 2:
            return name, fields[3][-1] if fields[3] else 0
        case 3:
            return name, _text(fields[4])
        case 4:
            return name, _tensor(fields[5][-1])[1]
        case 6:
            return name, _floats(fields[7])
        case 7:
            return name, _integers(fields[8])
    raise ModelError(f"attribute {name} of {kind} is of a type that is not read")


def _tensor(data: memoryview) -> tuple[str, NDArray[Any]]:
    fields = _fields(data)
    name, shape = _text(fields[8]), _integers(fields[1])
    dtype = _dtype(fields[2][-1], name)
    if fields[14] and fields[14][-1] == _EXTERNAL:
        raise ModelError(f"{name} is in a file of its own, which is not read")
    if fields[9]:
        array = np.frombuffer(fields[9][-1], np.dtype(dtype).newbyteorder("<")).astype(dtype)
    elif dtype is np.float32:
        array = np.array(_floats(fields[4]), dtype)
    elif dtype is np.float64:
        array = np.array([one for value in fields[10] for one in np.frombuffer(value, "<f8")], dtype)
    elif dtype is np.float16:
        array = np.array(_integers(fields[5]), np.uint16).view(dtype)
    else:
        array = np.array(_integers(fields[7] or fields[5]), dtype)
    return name, array.reshape(shape)


def _value(data: memoryview) -> Value:
    fields = _fields(data)
    name = _text(fields[1])
    kinds = _fields(fields[2][-1])[1] if fields[2] else []
    if not kinds:
        raise ModelError(f"{name} is no tensor")
    tensor = _fields(kinds[-1])
    if not tensor[2]:
        raise ModelError(f"the shape of {name} is not known")
    dims = [_fields(each) for each in _fields(tensor[2][-1])[1]]
    return Value(name, _dtype(tensor[1][-1], name), [each[1][-1] if each[1] else None for each in dims])


def _dtype(number: int, name: str) -> type[np.generic]:
    if number not in DTYPES:
        raise ModelError(f"{name} has elements of ONNX's type {number}, which is not supported")
    return DTYPES[number]
